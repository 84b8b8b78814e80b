//! `insyn token create|list|revoke`: access for a program.

use std::path::Path;
use std::process::ExitCode;

use anyhow::bail;
use insyn_engine::output;
use insyn_review::{Action, Db, NewToken, Role, TokenView};
use serde::Serialize;

use super::user::role;
use crate::cli::{Token, TokenAction};
use crate::config::{Config, ConfigError};
use crate::{house, print};

/// A token as the list on the command line shows it; an empty time means never.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    role: Role,
    allow: Vec<Action>,
    controllers: Vec<String>,
    units: Vec<String>,
    created_at: String,
    created_by: String,
    expires_at: String,
    revoked_at: String,
    last_used_at: String,
}

pub async fn run(config: &Path, arguments: Token) -> anyhow::Result<ExitCode> {
    let config = Config::read(config)?;
    let db = Db::open(&config.state.url, &config.base).await?;
    match arguments.action {
        TokenAction::Create { name, role, allow } => create(&db, name, &role, &allow).await?,
        TokenAction::List(format) => {
            let rows: Vec<Row> = db.tokens().await?.into_iter().map(Row::from).collect();
            print::records(format.chosen(), &rows, config.organisation.timezone)?;
        }
        TokenAction::Revoke { name } => {
            if !db.revoke_token(&name).await? {
                bail!("no token named {name:?} is in force (insyn token list)");
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn create(db: &Db, name: String, role_text: &str, allow: &[String]) -> anyhow::Result<()> {
    let new = NewToken {
        name,
        role: role(role_text)?,
        allow: allow.iter().map(|text| action(text)).collect::<Result<_, _>>()?,
        controllers: Vec::new(),
        units: Vec::new(),
        expires_at: None,
        created_by: house::os_account(),
    };
    let token = db.create_token(&new).await?;
    print::line(&token.token)?;
    eprintln!("the token is not shown again; send it as `Authorization: Bearer …`");
    Ok(())
}

impl From<TokenView> for Row {
    fn from(token: TokenView) -> Self {
        let moment = |at: Option<i64>| at.and_then(output::to_the_second).unwrap_or_default();
        Self {
            name: token.name,
            role: token.role,
            allow: token.allow,
            controllers: token.controllers,
            units: token.units,
            created_at: moment(Some(token.created_at)),
            created_by: token.created_by,
            expires_at: moment(token.expires_at),
            revoked_at: moment(token.revoked_at),
            last_used_at: moment(token.last_used_at),
        }
    }
}

fn action(text: &str) -> Result<Action, ConfigError> {
    text.parse().map_err(|what| ConfigError::Usage(format!("--allow: {what}")))
}
