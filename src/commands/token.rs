//! `insyn token create`: access for a program.

use std::path::Path;
use std::process::ExitCode;

use insyn_review::{Action, Db, NewToken};

use super::user::role;
use crate::cli::{Token, TokenAction};
use crate::config::{Config, ConfigError};
use crate::{house, print};

pub async fn run(config: &Path, arguments: Token) -> anyhow::Result<ExitCode> {
    let TokenAction::Create { name, role: text, allow } = arguments.action;
    let config = Config::read(config)?;
    let new = NewToken {
        name,
        role: role(&text)?,
        allow: allow.iter().map(|text| action(text)).collect::<Result<_, _>>()?,
        controllers: Vec::new(),
        units: Vec::new(),
        expires_at: None,
        created_by: house::os_account(),
    };
    let token = Db::open(&config.state.url, &config.base).await?.create_token(&new).await?;
    print::line(&token.token)?;
    eprintln!("the token is not shown again; send it as `Authorization: Bearer …`");
    Ok(ExitCode::SUCCESS)
}

fn action(text: &str) -> Result<Action, ConfigError> {
    text.parse().map_err(|what| ConfigError::Usage(format!("--allow: {what}")))
}
