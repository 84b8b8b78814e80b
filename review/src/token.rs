//! Access for programs: a token that is shown once and kept as a hash.

use serde::Serialize;
use sha2::{Digest, Sha256};
use sqlx::Row;

use crate::{
    db::{Db, commit},
    error::{ReviewError, database, is_unique_violation},
    people::{grants, put_grants},
    permission::Action,
    principal::{Kind, Principal, Role},
};

/// So that a token found in a file or a log is known for what it is.
const PREFIX: &str = "insyn_";
/// Use is noted at most this often. µs.
const NOTE_USE: i64 = 60 * 1_000_000;

/// What a program is to be given.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// For people: which program, on which machine. Unique.
    pub name: String,
    pub role: Role,
    /// For the role `service`: what it may do. Empty for all other roles, whose table row holds.
    pub allow: Vec<Action>,
    /// Empty means all.
    pub controllers: Vec<String>,
    /// For the role `reviewer`: units it may read.
    pub units: Vec<String>,
    /// µs UTC; `None` is for ever, and a reason to look at the list now and then.
    pub expires_at: Option<i64>,
    /// Who made it, for the list.
    pub created_by: String,
}

/// A token just made.
#[derive(Clone)]
pub struct Token {
    pub token_id: String,
    /// For the program's `Authorization: Bearer …`; cannot be had again.
    pub token: String,
}

/// A token as the list shows it. Times µs UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TokenView {
    pub token_id: String,
    pub name: String,
    pub role: Role,
    pub allow: Vec<Action>,
    pub controllers: Vec<String>,
    pub units: Vec<String>,
    pub created_at: i64,
    pub created_by: String,
    pub expires_at: Option<i64>,
    pub revoked_at: Option<i64>,
    pub last_used_at: Option<i64>,
}

impl Db {
    /// Makes a token for a program.
    ///
    /// # Errors
    /// [`ReviewError::BadUser`] when name or role cannot be so, [`ReviewError::TokenNameTaken`].
    pub async fn create_token(&self, new: &NewToken) -> Result<Token, ReviewError> {
        const DOING: &str = "making a token";
        check(new)?;
        let token =
            Token { token_id: uuid::Uuid::new_v4().to_string(), token: format!("{PREFIX}{}", secret()) };
        let mut tx = self.write(DOING).await?;
        sqlx::query(
            "INSERT INTO tokens (token_id, token_hash, name, created_at, created_by, expires_at) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(&token.token_id)
        .bind(hash(&token.token))
        .bind(new.name.trim())
        .bind(self.now())
        .bind(&new.created_by)
        .bind(new.expires_at)
        .execute(&mut *tx)
        .await
        .map_err(|e| {
            if is_unique_violation(&e) { ReviewError::TokenNameTaken } else { database(DOING)(e) }
        })?;
        put_grants(&mut tx, &token.token_id, "role", &[new.role.as_str()]).await?;
        let allow: Vec<&str> = new.allow.iter().map(|action| action.as_str()).collect();
        put_grants(&mut tx, &token.token_id, "action", &allow).await?;
        put_grants(&mut tx, &token.token_id, "controller", &new.controllers).await?;
        put_grants(&mut tx, &token.token_id, "unit", &new.units).await?;
        commit(tx, DOING).await?;
        Ok(token)
    }

    /// Who holds this bearer token.
    ///
    /// # Errors
    /// [`ReviewError::BadToken`] when it is unknown, past its time or revoked.
    pub async fn token(&self, bearer: &str) -> Result<Principal, ReviewError> {
        const DOING: &str = "looking up a token";
        let now = self.now();
        let row = sqlx::query(
            "SELECT token_id, name, last_used_at FROM tokens \
             WHERE token_hash = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)",
        )
        .bind(hash(bearer.trim()))
        .bind(now)
        .fetch_optional(self.readers())
        .await
        .map_err(database(DOING))?
        .ok_or(ReviewError::BadToken)?;
        let token_id: String = row.try_get(0).map_err(database(DOING))?;
        let name: String = row.try_get(1).map_err(database(DOING))?;
        let used: Option<i64> = row.try_get(2).map_err(database(DOING))?;
        if used.is_none_or(|at| now - at >= NOTE_USE) {
            let mut tx = self.write(DOING).await?;
            sqlx::query("UPDATE tokens SET last_used_at = $1 WHERE token_id = $2")
                .bind(now)
                .bind(&token_id)
                .execute(&mut *tx)
                .await
                .map_err(database(DOING))?;
            commit(tx, DOING).await?;
        }
        let given = grants(self.readers(), &token_id).await?;
        Ok(Principal {
            user_id: token_id,
            login: name.clone(),
            name,
            staff_user_id: None,
            staff_accounts: Vec::new(),
            roles: given.roles,
            units: given.units,
            controllers: given.controllers,
            kind: Kind::Program,
            allow: given.actions,
            enrolling: false,
        })
    }

    /// Every token ever made, by name.
    pub async fn tokens(&self) -> Result<Vec<TokenView>, ReviewError> {
        const DOING: &str = "listing tokens";
        let rows = sqlx::query(
            "SELECT token_id, name, created_at, created_by, expires_at, revoked_at, last_used_at FROM tokens ORDER BY name",
        )
        .fetch_all(self.readers())
        .await
        .map_err(database(DOING))?;
        let mut tokens = Vec::with_capacity(rows.len());
        for row in rows {
            let token_id: String = row.try_get(0).map_err(database(DOING))?;
            let given = grants(self.readers(), &token_id).await?;
            tokens.push(TokenView {
                token_id,
                name: row.try_get(1).map_err(database(DOING))?,
                role: given.roles.first().copied().unwrap_or(Role::Service),
                allow: given.actions,
                controllers: given.controllers,
                units: given.units,
                created_at: row.try_get(2).map_err(database(DOING))?,
                created_by: row.try_get(3).map_err(database(DOING))?,
                expires_at: row.try_get(4).map_err(database(DOING))?,
                revoked_at: row.try_get(5).map_err(database(DOING))?,
                last_used_at: row.try_get(6).map_err(database(DOING))?,
            });
        }
        Ok(tokens)
    }

    /// Ends a token, by id or name. True when there was one to end.
    pub async fn revoke_token(&self, id_or_name: &str) -> Result<bool, ReviewError> {
        const DOING: &str = "revoking a token";
        let mut tx = self.write(DOING).await?;
        let done = sqlx::query(
            "UPDATE tokens SET revoked_at = $1 WHERE (token_id = $2 OR name = $2) AND revoked_at IS NULL",
        )
        .bind(self.now())
        .bind(id_or_name)
        .execute(&mut *tx)
        .await
        .map_err(database(DOING))?;
        commit(tx, DOING).await?;
        Ok(done.rows_affected() > 0)
    }
}

fn check(new: &NewToken) -> Result<(), ReviewError> {
    let bad = |what: &'static str, problem: String| Err(ReviewError::BadUser { what, problem });
    if new.name.trim().is_empty() || new.name.chars().count() > 200 {
        return bad("name", "expected 1 to 200 characters".to_owned());
    }
    if new.role != Role::Service && !new.allow.is_empty() {
        return bad("allow", format!("expected nothing for role {}, whose rights are fixed", new.role));
    }
    if new.role == Role::Service && new.allow.is_empty() {
        let names: Vec<&str> = Action::all().filter(|a| a.is_for_programs()).map(Action::as_str).collect();
        return bad(
            "allow",
            format!("found nothing for role service, expected some of {}", names.join(", ")),
        );
    }
    match new.allow.iter().find(|action| !action.is_for_programs()) {
        Some(action) => bad("allow", format!("{action} is not for programs")),
        None => Ok(()),
    }
}

/// 256 random bits as hexadecimal text.
pub(crate) fn secret() -> String {
    hex(&rand::random::<[u8; 32]>())
}

/// What is kept of a secret of 256 bits. It needs no salt and no stretching: nobody guesses 256 bits.
pub(crate) fn hash(secret: &str) -> String {
    hex(&Sha256::digest(secret.as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
