//! `insyn user create|list|disable|enable|reset`: who may sign in. A password is shown once; the codes are set up at the
//! first sign-in.

use std::path::Path;
use std::process::ExitCode;

use insyn_engine::output;
use insyn_review::{Db, NewUser, Role};
use rand::Rng;
use rand::distr::Alphanumeric;

use serde::Serialize;

use crate::cli::{FormatOption, User, UserAction, UserCreate};
use crate::config::ConfigError;
use crate::house::House;
use crate::print;

/// Long enough that it may hold the login by chance.
const PASSWORD_LENGTH: usize = 24;

/// A user as the list on the command line shows them.
#[derive(Debug, Serialize)]
struct Row {
    login: String,
    name: String,
    roles: Vec<Role>,
    units: Vec<String>,
    controllers: Vec<String>,
    staff_user_id: String,
    second_factor: String,
    disabled: bool,
    created_at: String,
}

pub async fn run(config: &Path, arguments: User) -> anyhow::Result<ExitCode> {
    let house = House::open(config).await?;
    let db = Db::open(&house.config.state.url, &house.config.base).await?;
    match arguments.action {
        UserAction::Create(new) => create(&house, &db, new).await?,
        UserAction::List(format) => list(&house, &db, &format).await?,
        UserAction::Disable { login } => db.set_disabled(&login, true).await?,
        UserAction::Enable { login } => db.set_disabled(&login, false).await?,
        UserAction::Reset { login, codes } => {
            let password = new_password();
            db.reset_password(&login, &password, codes).await?;
            show(&login, &password)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn create(house: &House, db: &Db, new: UserCreate) -> anyhow::Result<()> {
    let roles = new.roles.iter().map(|role| self::role(role)).collect::<Result<Vec<_>, _>>()?;
    let staff = match &new.staff_user_id {
        Some(id) => Some(in_the_logs(house, id).await?),
        None => None,
    };
    let (staff_user_id, staff_accounts) = staff.unzip();
    let password = new_password();
    let user = NewUser {
        login: new.login.clone(),
        name: new.name,
        staff_user_id,
        staff_accounts: staff_accounts.unwrap_or_default(),
        roles,
        units: new.units,
        controllers: new.controllers,
        password: password.clone(),
        ..NewUser::default()
    };
    db.create_user(&user).await?;
    show(&new.login, &password)?;
    eprintln!("at the first sign-in the codes of an authenticator app are set up");
    Ok(())
}

async fn list(house: &House, db: &Db, format: &FormatOption) -> anyhow::Result<()> {
    let users = db.users().await?.into_iter().map(|user| Row {
        login: user.login,
        name: user.name,
        roles: user.roles,
        units: user.units,
        controllers: user.controllers,
        staff_user_id: user.staff_user_id.unwrap_or_default(),
        second_factor: user.second_factor,
        disabled: user.disabled,
        created_at: output::to_the_second(user.created_at).unwrap_or_default(),
    });
    print::records(format.chosen(), &users.collect::<Vec<_>>(), house.config.organisation.timezone)
}

fn new_password() -> String {
    rand::rng().sample_iter(&Alphanumeric).take(PASSWORD_LENGTH).map(char::from).collect()
}

fn show(login: &str, password: &str) -> anyhow::Result<()> {
    print::line(&format!("login     {login}\npassword  {password}"))?;
    eprintln!("the password is not shown again");
    Ok(())
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
