//! Signing in, sessions, passwords, one-time codes, tokens.

use insyn_review::{Action, Db, Kind, NewToken, NewUser, ReviewError, Role};

use crate::world::{MINUTE, PASSWORD, SECOND, World, user, with_codes};

async fn code_of(db: &Db, login: &str, password: &str, code: &str) -> &'static str {
    db.sign_in(login, password, code).await.map_or_else(|e| e.code(), |_| "in")
}

#[tokio::test]
async fn who_gets_in() {
    let world = World::new().await;
    let (anna, secret) = with_codes("anna", Role::Dso);
    world.db.create_user(&anna).await.unwrap();
    world.db.create_user(&user("bo", Role::Operator, &[])).await.unwrap();
    world.db.create_user(&user("ute", Role::Operator, &[])).await.unwrap();
    world.db.set_disabled("ute", true).await.unwrap();
    let good = secret.code(world.now());
    let stale = secret.code(world.now() - 5 * MINUTE);
    let long = "x".repeat(5000);
    for (login, password, code, got) in [
        ("anna", PASSWORD, "", "sign_in_refused"),
        ("anna", PASSWORD, "000", "sign_in_refused"),
        ("anna", PASSWORD, stale.as_str(), "sign_in_refused"),
        ("anna", "fel lösenord här", good.as_str(), "sign_in_refused"),
        ("anna", long.as_str(), good.as_str(), "sign_in_refused"),
        ("ingen", PASSWORD, good.as_str(), "sign_in_refused"),
        ("", "", "", "sign_in_refused"),
        ("ute", PASSWORD, "", "sign_in_refused"),
        (" ANNA ", PASSWORD, good.as_str(), "in"),
        ("bo", PASSWORD, "", "in"),
    ] {
        assert_eq!(code_of(&world.db, login, password, code).await, got, "{login} {password:.20} {code}");
    }
}

#[tokio::test]
async fn a_code_works_once() {
    let world = World::new().await;
    let (anna, secret) = with_codes("anna", Role::Dso);
    world.db.create_user(&anna).await.unwrap();
    let (before, now) = (secret.code(world.now() - 30 * SECOND), secret.code(world.now()));
    assert_eq!(code_of(&world.db, "anna", PASSWORD, &now).await, "in");
    assert_eq!(code_of(&world.db, "anna", PASSWORD, &now).await, "sign_in_refused");
    assert_eq!(
        code_of(&world.db, "anna", PASSWORD, &before).await,
        "sign_in_refused",
        "an older one is spent as well"
    );
    world.wait(30 * SECOND);
    assert_eq!(code_of(&world.db, "anna", PASSWORD, &secret.code(world.now())).await, "in");

    world.wait(30 * SECOND);
    let code = secret.code(world.now());
    let other = world.again().await;
    let (one, two) =
        tokio::join!(code_of(&world.db, "anna", PASSWORD, &code), code_of(&other, "anna", PASSWORD, &code));
    assert!(matches!((one, two), ("in", "sign_in_refused") | ("sign_in_refused", "in")), "{one} {two}");
}

#[tokio::test]
async fn ten_failures_lock_a_login_that_exists_or_not() {
    let world = World::new().await;
    world.db.create_user(&user("anna", Role::Dso, &[])).await.unwrap();
    world.db.create_user(&user("bo", Role::Dso, &[])).await.unwrap();
    for login in ["anna", "finns.inte"] {
        for attempt in 1..=10 {
            assert_eq!(
                code_of(&world.db, login, "fel lösenord", "").await,
                "sign_in_refused",
                "{login} {attempt}"
            );
        }
        match world.db.sign_in(login, PASSWORD, "").await {
            Err(ReviewError::TooManyAttempts { seconds }) => {
                assert!((890..=901).contains(&seconds), "{seconds}")
            }
            other => panic!("{login}: expected a lock, found {:?}", other.err()),
        }
    }
    assert_eq!(code_of(&world.db, "bo", PASSWORD, "").await, "in", "others are not locked out");
    world.wait(15 * MINUTE + SECOND);
    assert_eq!(code_of(&world.db, "anna", PASSWORD, "").await, "in");
}

#[tokio::test]
async fn a_success_forgives_and_guesses_at_once_gain_nothing() {
    let world = World::new().await;
    world.db.create_user(&user("anna", Role::Dso, &[])).await.unwrap();
    for _ in 0..3 {
        for _ in 0..9 {
            assert_eq!(code_of(&world.db, "anna", "fel lösenord", "").await, "sign_in_refused");
        }
        assert_eq!(code_of(&world.db, "anna", PASSWORD, "").await, "in");
    }
    let guesses: Vec<_> = (0..30)
        .map(|_| {
            let db = world.db.clone();
            tokio::spawn(async move { code_of(&db, "anna", "fel lösenord", "").await })
        })
        .collect();
    let mut looked_at = 0;
    for guess in guesses {
        looked_at += usize::from(guess.await.unwrap() == "sign_in_refused");
    }
    assert_eq!(looked_at, 10);
}

#[tokio::test]
async fn sessions_end() {
    let world = World::new().await;
    world.db.create_user(&user("anna", Role::Reviewer, &["E1"])).await.unwrap();
    let enter = async || world.db.sign_in("anna", PASSWORD, "").await.unwrap().token;
    let is_in = async |token: &str| world.db.session(token).await.is_ok();

    let idle = enter().await;
    assert_eq!(idle.len(), 64);
    world.wait(29 * MINUTE);
    assert!(is_in(&idle).await, "used within half an hour");
    world.wait(29 * MINUTE);
    assert!(is_in(&idle).await, "use counts");
    world.wait(30 * MINUTE);
    assert!(!is_in(&idle).await, "half an hour without use");

    let long = enter().await;
    for _ in 0..(11 * 3 + 2) {
        world.wait(20 * MINUTE);
        assert!(is_in(&long).await);
    }
    world.wait(20 * MINUTE);
    assert!(!is_in(&long).await, "twelve hours, used or not");

    let left = enter().await;
    world.db.sign_out(&left).await.unwrap();
    assert!(!is_in(&left).await, "signed out");

    let shut = enter().await;
    world.db.set_disabled("anna", true).await.unwrap();
    assert!(!is_in(&shut).await, "disabled");
    world.db.set_disabled("anna", false).await.unwrap();
    assert!(!is_in(&shut).await, "does not come back to life");
    assert!(!is_in("").await && !is_in(&"0".repeat(64)).await);
}

#[tokio::test]
async fn a_change_of_rights_takes_effect_at_once() {
    let world = World::new().await;
    world.db.create_user(&user("anna", Role::Reviewer, &["E1"])).await.unwrap();
    let token = world.db.sign_in("anna", PASSWORD, "").await.unwrap().token;
    let mut like = user("anna", Role::Auditor, &[]);
    like.staff_accounts = vec!["annand".into()];
    world.db.set_grants("anna", &like).await.unwrap();
    let anna = world.db.session(&token).await.unwrap();
    assert_eq!((anna.roles.as_slice(), anna.units.len()), (&[Role::Auditor][..], 0));
    assert!(anna.is_self("ANNAND") && anna.is_self("se1-anna") && !anna.is_self("SE1-BO"));
}

#[tokio::test]
async fn passwords_change() {
    let world = World::new().await;
    world.db.create_user(&user("anna", Role::Dso, &[])).await.unwrap();
    let here = world.db.sign_in("anna", PASSWORD, "").await.unwrap();
    let elsewhere = world.db.sign_in("anna", PASSWORD, "").await.unwrap();
    let change = async |old: &str, new: &str| {
        world
            .db
            .change_password(&here.principal, old, new, Some(&here.token))
            .await
            .map_or_else(|e| e.code(), |()| "done")
    };
    assert_eq!(change(PASSWORD, "kort").await, "weak_password");
    assert_eq!(change("fel lösenord", "en helt ny ramsa").await, "sign_in_refused");
    assert_eq!(change(PASSWORD, "en helt ny ramsa").await, "done");
    assert!(world.db.session(&here.token).await.is_ok());
    assert!(world.db.session(&elsewhere.token).await.is_err());
    assert_eq!(code_of(&world.db, "anna", PASSWORD, "").await, "sign_in_refused");
    assert_eq!(code_of(&world.db, "anna", "en helt ny ramsa", "").await, "in");
    world.db.reset_password("anna", PASSWORD, true).await.unwrap();
    assert!(world.db.session(&here.token).await.is_err());
    assert!(world.db.sign_in("anna", PASSWORD, "").await.unwrap().principal.enrolling);
}

#[tokio::test]
async fn codes_are_set_up_before_anything_else() {
    let world = World::new().await;
    let new = NewUser { without_second_factor: false, ..user("anna", Role::Dso, &[]) };
    world.db.create_user(&new).await.unwrap();
    let first = world.db.sign_in("anna", PASSWORD, "").await.unwrap();
    assert!(first.principal.enrolling && !insyn_review::may(&first.principal, Action::ReadFindings));
    let confirm = async |code: &str| {
        world.db.confirm_enrolment(&first.principal, code).await.map_or_else(|e| e.code(), |()| "done")
    };
    assert_eq!(confirm("123456").await, "no_enrolment");
    let enrolment = world.db.begin_enrolment(&first.principal).await.unwrap();
    assert!(enrolment.url.contains(&enrolment.secret));
    let secret = insyn_review::TotpSecret::parse(&enrolment.secret).unwrap();
    assert_eq!(confirm("").await, "bad_code");
    let code = secret.code(world.now());
    assert_eq!(confirm(&code).await, "done");
    assert!(!world.db.session(&first.token).await.unwrap().enrolling);
    assert_eq!(code_of(&world.db, "anna", PASSWORD, "").await, "sign_in_refused");
    assert_eq!(
        code_of(&world.db, "anna", PASSWORD, &code).await,
        "sign_in_refused",
        "spent by the confirmation"
    );
    world.wait(30 * SECOND);
    assert_eq!(code_of(&world.db, "anna", PASSWORD, &secret.code(world.now())).await, "in");
}

#[tokio::test]
async fn users_that_cannot_be() {
    let world = World::new().await;
    world.db.create_user(&user("anna", Role::Dso, &[])).await.unwrap();
    let change = |f: fn(&mut NewUser)| {
        let mut new = user("bo", Role::Reviewer, &["E1"]);
        f(&mut new);
        new
    };
    for (new, code, word) in [
        (change(|u| u.login = "ANNA".into()), "login_taken", "taken"),
        (change(|u| u.login = " ".into()), "bad_user", "login"),
        (change(|u| u.login = "a b".into()), "bad_user", "login"),
        (change(|u| u.name.clear()), "bad_user", "name"),
        (change(|u| u.roles.clear()), "bad_user", "roles"),
        (change(|u| u.roles = vec![Role::Dso, Role::Reviewer]), "bad_user", "38.6"),
        (change(|u| u.roles = vec![Role::Service]), "bad_user", "token"),
        (change(|u| u.staff_user_id = None), "bad_user", "staff_user_id"),
        (change(|u| u.password = "kort".into()), "weak_password", "12"),
    ] {
        let error = world.db.create_user(&new).await.unwrap_err();
        assert_eq!(error.code(), code);
        assert!(error.to_string().contains(word), "{error}");
    }
    assert_eq!(world.db.users().await.unwrap().len(), 1);
    assert_eq!(world.db.set_disabled("ingen", true).await.unwrap_err().code(), "unknown_user");
}

#[tokio::test]
async fn secrets_are_not_in_the_file() {
    let world = World::new().await;
    world.db.create_user(&user("anna", Role::Dso, &[])).await.unwrap();
    let session = world.db.sign_in("anna", PASSWORD, "").await.unwrap().token;
    let token = world.db.create_token(&token("siem", Role::Auditor)).await.unwrap().token;
    world.db.close().await;
    let mut bytes = Vec::new();
    for file in std::fs::read_dir(world.folder.path()).unwrap() {
        bytes.extend(std::fs::read(file.unwrap().path()).unwrap());
    }
    for secret in [PASSWORD, session.as_str(), token.as_str()] {
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()));
    }
}

fn token(name: &str, role: Role) -> NewToken {
    NewToken {
        name: name.to_owned(),
        role,
        allow: Vec::new(),
        controllers: vec!["N1".to_owned()],
        units: Vec::new(),
        expires_at: None,
        created_by: "host".to_owned(),
    }
}

#[tokio::test]
async fn tokens_for_programs() {
    let world = World::new().await;
    let db = &world.db;
    let ends = NewToken { expires_at: Some(world.now() + MINUTE), ..token("kort", Role::Dso) };
    let sends = NewToken { allow: vec![Action::SendLogs], ..token("sänder", Role::Service) };
    let (short, siem) = (
        db.create_token(&ends).await.unwrap(),
        db.create_token(&token("siem", Role::Auditor)).await.unwrap(),
    );
    let sends = db.create_token(&sends).await.unwrap();
    let program = db.token(&format!(" {} ", siem.token)).await.unwrap();
    assert_eq!(
        (program.kind, program.name.as_str(), program.controllers.as_slice()),
        (Kind::Program, "siem", &["N1".to_owned()][..])
    );
    assert_eq!(db.token(&sends.token).await.unwrap().allow, [Action::SendLogs]);

    assert!(db.token(&short.token).await.is_ok());
    world.wait(MINUTE);
    assert_eq!(db.token(&short.token).await.unwrap_err().code(), "bad_token");
    assert!(db.revoke_token("siem").await.unwrap() && !db.revoke_token("siem").await.unwrap());
    for bad in [siem.token.as_str(), "", "insyn_", &siem.token[6..], siem.token_id.as_str()] {
        assert_eq!(db.token(bad).await.unwrap_err().code(), "bad_token");
    }
    let names: Vec<(String, bool, bool)> = db
        .tokens()
        .await
        .unwrap()
        .into_iter()
        .map(|t| (t.name, t.revoked_at.is_some(), t.last_used_at.is_some()))
        .collect();
    assert_eq!(
        names,
        [("kort".into(), false, true), ("siem".into(), true, true), ("sänder".into(), false, true)]
    );

    for (bad, code) in [
        (token("kort", Role::Dso), "token_name_taken"),
        (token(" ", Role::Dso), "bad_user"),
        (token("x", Role::Service), "bad_user"),
        (NewToken { allow: vec![Action::Decide], ..token("x", Role::Service) }, "bad_user"),
        (NewToken { allow: vec![Action::Trace], ..token("x", Role::Dso) }, "bad_user"),
    ] {
        assert_eq!(db.create_token(&bad).await.err().map(|e| e.code()), Some(code));
    }
}
