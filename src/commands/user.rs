//! `insyn user create`: a person who may sign in. The password is shown once; the codes are set up at the first sign-in.

use std::path::Path;
use std::process::ExitCode;

use insyn_review::{Db, NewUser, Role};
use rand::Rng;
use rand::distr::Alphanumeric;

use crate::cli::{User, UserAction};
use crate::config::{Config, ConfigError};
use crate::print;

const PASSWORD_LENGTH: usize = 20;

pub async fn run(config: &Path, arguments: User) -> anyhow::Result<ExitCode> {
    let UserAction::Create { login, name, roles, units, controllers, staff_user_id } = arguments.action;
    let config = Config::read(config)?;
    let roles = roles.iter().map(|role| self::role(role)).collect::<Result<Vec<_>, _>>()?;
    let password: String =
        rand::rng().sample_iter(&Alphanumeric).take(PASSWORD_LENGTH).map(char::from).collect();
    let db = Db::open(&config.state.url, &config.base).await?;
    let user = NewUser {
        login: login.clone(),
        name,
        staff_user_id,
        roles,
        units,
        controllers,
        password: password.clone(),
        ..NewUser::default()
    };
    db.create_user(&user).await?;
    print::line(&format!("login     {login}\npassword  {password}"))?;
    eprintln!(
        "the password is not shown again; at the first sign-in the codes of an authenticator app are set up"
    );
    Ok(ExitCode::SUCCESS)
}

/// A role as typed on the command line.
pub fn role(text: &str) -> Result<Role, ConfigError> {
    text.parse().map_err(|what| ConfigError::Usage(format!("--role: {what}")))
}
