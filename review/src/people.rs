//! Users: who they are, what they were given. Made and changed by command on the host; there is no page for it.

use serde::Serialize;
use sqlx::{Row, Sqlite, SqliteConnection, SqlitePool, Transaction};

use crate::{
    db::{Db, commit},
    error::{Refusal, ReviewError, database, is_unique_violation},
    password::check_strength,
    permission::Action,
    principal::{Kind, Principal, Role},
    token::hash,
    totp::TotpSecret,
};

/// A user to be made.
#[derive(Debug, Clone, Default)]
pub struct NewUser {
    /// Case does not matter.
    pub login: String,
    pub name: String,
    /// The id that access logs know the person by (HSA-id). A reviewer without one cannot be kept from judging
    /// themself, so it is demanded of reviewers.
    pub staff_user_id: Option<String>,
    /// The same person's other accounts in access logs.
    pub staff_accounts: Vec<String>,
    pub roles: Vec<Role>,
    pub units: Vec<String>,
    pub controllers: Vec<String>,
    /// At least 12 characters.
    pub password: String,
    /// `None`: the user sets codes up at the first sign-in and can do nothing before.
    pub totp: Option<TotpSecret>,
    /// Sign-in by password alone. For a demo or a test, never where real people's records are.
    pub without_second_factor: bool,
}

/// A user as the list shows them. Times µs UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct User {
    pub user_id: String,
    pub login: String,
    pub name: String,
    pub staff_user_id: Option<String>,
    pub staff_accounts: Vec<String>,
    pub roles: Vec<Role>,
    pub units: Vec<String>,
    pub controllers: Vec<String>,
    /// `totp`, `enrol` or `waived`.
    pub second_factor: String,
    pub disabled: bool,
    pub created_at: i64,
}

impl Db {
    /// Makes a user and returns its id.
    ///
    /// # Errors
    /// [`ReviewError::BadUser`], [`ReviewError::WeakPassword`], [`ReviewError::LoginTaken`].
    pub async fn create_user(&self, new: &NewUser) -> Result<String, ReviewError> {
        const DOING: &str = "making a user";
        let login = normal_login(&new.login);
        check(&login, new)?;
        check_strength(&new.password, &login)?;
        let password = self.hash_password(&new.password).await?;
        let second_factor = match (&new.totp, new.without_second_factor) {
            (Some(_), _) => "totp",
            (None, true) => "waived",
            (None, false) => "enrol",
        };
        let user_id = uuid::Uuid::new_v4().to_string();
        let mut tx = self.write(DOING).await?;
        sqlx::query(
            "INSERT INTO users (user_id, login, name, staff_user_id, password, second_factor, totp_secret, \
             totp_last_step, disabled, created_at, password_changed_at) VALUES ($1, $2, $3, $4, $5, $6, $7, 0, 0, $8, $8)",
        )
        .bind(&user_id)
        .bind(&login)
        .bind(new.name.trim())
        .bind(new.staff_user_id.as_deref().map(str::trim))
        .bind(password)
        .bind(second_factor)
        .bind(new.totp.as_ref().map(TotpSecret::as_base32))
        .bind(self.now())
        .execute(&mut *tx)
        .await
        .map_err(|e| if is_unique_violation(&e) { ReviewError::LoginTaken } else { database(DOING)(e) })?;
        put_all(&mut tx, &user_id, new).await?;
        commit(tx, DOING).await?;
        Ok(user_id)
    }

    /// Every user, by login.
    pub async fn users(&self) -> Result<Vec<User>, ReviewError> {
        const DOING: &str = "listing users";
        let rows = sqlx::query(
            "SELECT user_id, login, name, staff_user_id, second_factor, disabled, created_at FROM users ORDER BY login",
        )
        .fetch_all(self.readers())
        .await
        .map_err(database(DOING))?;
        let mut users = Vec::with_capacity(rows.len());
        for row in rows {
            let user_id: String = row.try_get(0).map_err(database(DOING))?;
            let given = grants(self.readers(), &user_id).await?;
            users.push(User {
                user_id,
                login: row.try_get(1).map_err(database(DOING))?,
                name: row.try_get(2).map_err(database(DOING))?,
                staff_user_id: row.try_get(3).map_err(database(DOING))?,
                staff_accounts: given.accounts,
                roles: given.roles,
                units: given.units,
                controllers: given.controllers,
                second_factor: row.try_get(4).map_err(database(DOING))?,
                disabled: row.try_get::<i64, _>(5).map_err(database(DOING))? != 0,
                created_at: row.try_get(6).map_err(database(DOING))?,
            });
        }
        Ok(users)
    }

    /// Replaces what the user was given (roles, units, controllers, accounts); takes effect at their next request.
    pub async fn set_grants(&self, login: &str, like: &NewUser) -> Result<(), ReviewError> {
        const DOING: &str = "changing a user";
        let login = normal_login(login);
        check(&login, like)?;
        let mut tx = self.write(DOING).await?;
        let user_id = user_id_of(&mut tx, &login).await?;
        sqlx::query("DELETE FROM grants WHERE owner_id = $1")
            .bind(&user_id)
            .execute(&mut *tx)
            .await
            .map_err(database(DOING))?;
        sqlx::query("UPDATE users SET staff_user_id = $1 WHERE user_id = $2")
            .bind(like.staff_user_id.as_deref().map(str::trim))
            .bind(&user_id)
            .execute(&mut *tx)
            .await
            .map_err(database(DOING))?;
        put_all(&mut tx, &user_id, like).await?;
        commit(tx, DOING).await
    }

    /// Shuts a user out, at once, or lets them in again.
    pub async fn set_disabled(&self, login: &str, disabled: bool) -> Result<(), ReviewError> {
        const DOING: &str = "disabling a user";
        let mut tx = self.write(DOING).await?;
        let user_id = user_id_of(&mut tx, &normal_login(login)).await?;
        sqlx::query("UPDATE users SET disabled = $1 WHERE user_id = $2")
            .bind(i64::from(disabled))
            .bind(&user_id)
            .execute(&mut *tx)
            .await
            .map_err(database(DOING))?;
        end_sessions(&mut tx, &user_id, None).await?;
        commit(tx, DOING).await
    }

    /// Changes one's own password; ends all one's sessions but the one of `keep` (its token). Guessing the old password
    /// here counts as guessing it at sign-in.
    pub async fn change_password(
        &self,
        principal: &Principal,
        old: &str,
        new: &str,
        keep: Option<&str>,
    ) -> Result<(), ReviewError> {
        const DOING: &str = "changing a password";
        check_strength(new, &principal.login)?;
        self.reserve_attempt(&principal.login).await?;
        let stored: Option<String> =
            sqlx::query_scalar("SELECT password FROM users WHERE user_id = $1 AND disabled = 0")
                .bind(&principal.user_id)
                .fetch_optional(self.readers())
                .await
                .map_err(database(DOING))?;
        if !self.verify_password(old, stored).await? {
            return Err(ReviewError::SignInRefused);
        }
        self.forget_attempts(&principal.login).await?;
        self.put_password(&principal.user_id, new, keep).await
    }

    /// Sets a user's password without knowing the old one; ends their sessions. `forget_codes` makes them set up
    /// one-time codes anew: for a lost phone.
    pub async fn reset_password(
        &self,
        login: &str,
        new: &str,
        forget_codes: bool,
    ) -> Result<(), ReviewError> {
        const DOING: &str = "resetting a password";
        let login = normal_login(login);
        check_strength(new, &login)?;
        let mut tx = self.write(DOING).await?;
        let user_id = user_id_of(&mut tx, &login).await?;
        if forget_codes {
            sqlx::query("UPDATE users SET second_factor = 'enrol', totp_secret = NULL WHERE user_id = $1")
                .bind(&user_id)
                .execute(&mut *tx)
                .await
                .map_err(database(DOING))?;
        }
        end_sessions(&mut tx, &user_id, None).await?;
        commit(tx, DOING).await?;
        self.put_password(&user_id, new, None).await?;
        self.forget_attempts(&login).await
    }

    /// The user as a principal; `None` when unknown or disabled.
    pub(crate) async fn principal(&self, user_id: &str) -> Result<Option<Principal>, ReviewError> {
        const DOING: &str = "looking up a user";
        let row = sqlx::query(
            "SELECT login, name, staff_user_id, second_factor FROM users WHERE user_id = $1 AND disabled = 0",
        )
        .bind(user_id)
        .fetch_optional(self.readers())
        .await
        .map_err(database(DOING))?;
        let Some(row) = row else { return Ok(None) };
        let given = grants(self.readers(), user_id).await?;
        let second_factor: String = row.try_get(3).map_err(database(DOING))?;
        Ok(Some(Principal {
            user_id: user_id.to_owned(),
            login: row.try_get(0).map_err(database(DOING))?,
            name: row.try_get(1).map_err(database(DOING))?,
            staff_user_id: row.try_get(2).map_err(database(DOING))?,
            staff_accounts: given.accounts,
            roles: given.roles,
            units: given.units,
            controllers: given.controllers,
            kind: Kind::Person,
            allow: Vec::new(),
            enrolling: second_factor == "enrol",
        }))
    }

    async fn put_password(&self, user_id: &str, new: &str, keep: Option<&str>) -> Result<(), ReviewError> {
        const DOING: &str = "changing a password";
        let password = self.hash_password(new).await?;
        let mut tx = self.write(DOING).await?;
        sqlx::query("UPDATE users SET password = $1, password_changed_at = $2 WHERE user_id = $3")
            .bind(password)
            .bind(self.now())
            .bind(user_id)
            .execute(&mut *tx)
            .await
            .map_err(database(DOING))?;
        end_sessions(&mut tx, user_id, keep).await?;
        commit(tx, DOING).await
    }
}

/// Logins are compared in lower case, without outer blanks.
pub(crate) fn normal_login(login: &str) -> String {
    login.trim().to_lowercase()
}

/// What a user or token was given.
#[derive(Debug, Default)]
pub(crate) struct Given {
    pub roles: Vec<Role>,
    pub units: Vec<String>,
    pub controllers: Vec<String>,
    pub accounts: Vec<String>,
    pub actions: Vec<Action>,
}

pub(crate) async fn grants(pool: &SqlitePool, owner_id: &str) -> Result<Given, ReviewError> {
    const DOING: &str = "reading grants";
    let rows: Vec<(String, String)> =
        sqlx::query_as("SELECT kind, value FROM grants WHERE owner_id = $1 ORDER BY kind, value")
            .bind(owner_id)
            .fetch_all(pool)
            .await
            .map_err(database(DOING))?;
    let mut given = Given::default();
    for (kind, value) in rows {
        let unreadable = |what: String| ReviewError::Stored { table: "grants", column: "value", what };
        match kind.as_str() {
            "role" => given.roles.push(value.parse().map_err(unreadable)?),
            "action" => given.actions.push(value.parse().map_err(unreadable)?),
            "unit" => given.units.push(value),
            "controller" => given.controllers.push(value),
            "account" => given.accounts.push(value),
            _ => return Err(unreadable("found an unknown kind of grant".to_owned())),
        }
    }
    Ok(given)
}

pub(crate) async fn put_grants(
    tx: &mut Transaction<'static, Sqlite>,
    owner_id: &str,
    kind: &str,
    values: &[impl AsRef<str>],
) -> Result<(), ReviewError> {
    for value in values {
        sqlx::query("INSERT INTO grants (owner_id, kind, value) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
            .bind(owner_id)
            .bind(kind)
            .bind(value.as_ref().trim())
            .execute(&mut **tx)
            .await
            .map_err(database("giving rights"))?;
    }
    Ok(())
}

async fn put_all(
    tx: &mut Transaction<'static, Sqlite>,
    user_id: &str,
    new: &NewUser,
) -> Result<(), ReviewError> {
    let roles: Vec<&str> = new.roles.iter().map(|role| role.as_str()).collect();
    put_grants(tx, user_id, "role", &roles).await?;
    put_grants(tx, user_id, "unit", &new.units).await?;
    put_grants(tx, user_id, "controller", &new.controllers).await?;
    put_grants(tx, user_id, "account", &new.staff_accounts).await
}

async fn end_sessions(
    connection: &mut SqliteConnection,
    user_id: &str,
    keep: Option<&str>,
) -> Result<(), ReviewError> {
    sqlx::query("DELETE FROM sessions WHERE user_id = $1 AND token_hash <> $2")
        .bind(user_id)
        .bind(keep.map(hash).unwrap_or_default())
        .execute(connection)
        .await
        .map_err(database("ending sessions"))?;
    Ok(())
}

async fn user_id_of(connection: &mut SqliteConnection, login: &str) -> Result<String, ReviewError> {
    sqlx::query_scalar("SELECT user_id FROM users WHERE login = $1")
        .bind(login)
        .fetch_optional(connection)
        .await
        .map_err(database("looking up a user"))?
        .ok_or_else(|| Refusal::UnknownUser.into())
}

fn check(login: &str, new: &NewUser) -> Result<(), ReviewError> {
    let bad =
        |what: &'static str, problem: &str| Err(ReviewError::BadUser { what, problem: problem.to_owned() });
    if login.is_empty()
        || login.chars().count() > 100
        || login.chars().any(|c| c.is_whitespace() || c.is_control())
    {
        return bad("login", "expected 1 to 100 characters without blanks");
    }
    if new.name.trim().is_empty() {
        return bad("name", "expected a name");
    }
    if new.roles.is_empty() {
        return bad("roles", "expected at least one role");
    }
    if new.roles.contains(&Role::Service) {
        return bad("roles", "service is for programs; make a token");
    }
    let judging = [Role::Reviewer, Role::Coordinator].iter().any(|role| new.roles.contains(role));
    if new.roles.contains(&Role::Dso) && judging {
        return bad(
            "roles",
            "a data protection officer neither decides nor sets parameters (GDPR art. 38.6)",
        );
    }
    let unnamed = new.staff_user_id.as_deref().is_none_or(|id| id.trim().is_empty());
    if new.roles.contains(&Role::Reviewer) && unnamed {
        return bad("staff_user_id", "a reviewer needs one: it keeps them from judging their own accesses");
    }
    Ok(())
}
