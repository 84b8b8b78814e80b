//! `insyn user create`: a person who may sign in. The password is shown once; the codes are set up at the first sign-in.

use std::path::Path;
use std::process::ExitCode;

use insyn_review::{Db, NewUser, Role};
use rand::Rng;
use rand::distr::Alphanumeric;

use crate::cli::{User, UserAction};
use crate::config::ConfigError;
use crate::house::House;
use crate::print;

/// Long enough that it may hold the login by chance.
const PASSWORD_LENGTH: usize = 24;

pub async fn run(config: &Path, arguments: User) -> anyhow::Result<ExitCode> {
    let UserAction::Create { login, name, roles, units, controllers, staff_user_id } = arguments.action;
    let house = House::open(config).await?;
    let config = &house.config;
    let roles = roles.iter().map(|role| self::role(role)).collect::<Result<Vec<_>, _>>()?;
    let password: String =
        rand::rng().sample_iter(&Alphanumeric).take(PASSWORD_LENGTH).map(char::from).collect();
    let staff = match &staff_user_id {
        Some(id) => Some(in_the_logs(&house, id).await?),
        None => None,
    };
    let (staff_user_id, staff_accounts) = staff.unzip();
    let db = Db::open(&config.state.url, &config.base).await?;
    let user = NewUser {
        login: login.clone(),
        name,
        staff_user_id,
        staff_accounts: staff_accounts.unwrap_or_default(),
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

/// Under which id the rules know this person, and which accounts are theirs: nobody is to judge themself by way of an
/// account. Says so where the context tables know nobody of this id.
async fn in_the_logs(house: &House, id: &str) -> anyhow::Result<(String, Vec<String>)> {
    let person = house.session(true).await?.person_behind(id);
    if !person.known {
        eprintln!(
            "note: {id} is neither in the table staff nor in accounts; this person's own accesses are recognised only where \
             logs write exactly that (insyn context load)"
        );
    } else if person.user_id != id {
        eprintln!("{id} is an account of {}", person.user_id);
    }
    Ok((person.user_id, person.accounts))
}

/// A role as typed on the command line.
pub fn role(text: &str) -> Result<Role, ConfigError> {
    text.parse().map_err(|what| ConfigError::Usage(format!("--role: {what}")))
}
