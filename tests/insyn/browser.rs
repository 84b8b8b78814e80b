//! Real Chromium, driven over WebDriver: signs in, opens the top finding, follows it to the record's accesses.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// A browser of its own, with a profile of its own; both end when it is dropped.
pub struct Browser {
    driver: Child,
    base: String,
    agent: ureq::Agent,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// None, said aloud, where Chromium or its driver is not installed; with `CI=true` that is a failure.
    pub fn start(language: &str) -> Option<Browser> {
        let found = ["chromedriver", "chromium"].iter().all(|name| {
            Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
        });
        if !found {
            let missing = "chromium and chromedriver are not installed";
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{missing}");
            eprintln!("SKIPPED: {missing}; .ci/run installs them");
            return None;
        }
        let port = free_port();
        let profile = tempfile::tempdir().expect("a profile");
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver starts");
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .build()
            .new_agent();
        let mut browser =
            Browser { driver, base: format!("http://127.0.0.1:{port}"), agent, _profile: profile };
        browser.wait_for_driver();
        let arguments = [
            "--headless".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-quic".to_owned(),
            "--no-first-run".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--disable-sync".to_owned(),
            "--window-size=1280,900".to_owned(),
            format!("--lang={language}"),
            format!("--user-data-dir={}", browser._profile.path().display()),
        ];
        let answer = browser.call(
            "/session",
            &json!({"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": {
                "args": arguments, "prefs": {"intl.accept_languages": language}
            }}}}),
        );
        let session =
            answer["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {answer}")).to_owned();
        browser.base = format!("{}/session/{session}", browser.base);
        Some(browser)
    }

    fn wait_for_driver(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.agent.get(format!("{}/status", self.base)).call().is_err() {
            assert!(Instant::now() < deadline, "chromedriver did not answer within 30 seconds");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    #[track_caller]
    fn call(&self, path: &str, body: &Value) -> Value {
        let mut answer =
            self.agent.post(format!("{}{path}", self.base)).send_json(body).expect("the driver answers");
        let value: Value = answer.body_mut().read_json().expect("JSON");
        assert!(answer.status().is_success(), "{path}: {}", value["value"]["message"]);
        value["value"].clone()
    }

    #[track_caller]
    fn read(&self, path: &str) -> Value {
        let mut answer = self.agent.get(format!("{}{path}", self.base)).call().expect("the driver answers");
        let value: Value = answer.body_mut().read_json().expect("JSON");
        value["value"].clone()
    }

    #[track_caller]
    pub fn open(&self, url: &str) {
        self.call("/url", &json!({"url": url}));
    }

    #[track_caller]
    fn element(&self, css: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let mut answer = self
                .agent
                .post(format!("{}/element", self.base))
                .send_json(json!({"using": "css selector", "value": css}))
                .expect("the driver answers");
            let value: Value = answer.body_mut().read_json().expect("JSON");
            if let Some(id) =
                value["value"].as_object().and_then(|found| found.values().next()).and_then(Value::as_str)
                && answer.status().is_success()
            {
                return id.to_owned();
            }
            assert!(Instant::now() < deadline, "no element {css} on {}\n{}", self.address(), self.text());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until the page has the element.
    #[track_caller]
    pub fn waits_for(&self, css: &str) {
        self.element(css);
    }

    #[track_caller]
    pub fn click(&self, css: &str) {
        let id = self.element(css);
        self.call(&format!("/element/{id}/click"), &json!({}));
    }

    #[track_caller]
    pub fn fill(&self, css: &str, text: &str) {
        let id = self.element(css);
        self.call(&format!("/element/{id}/clear"), &json!({}));
        self.call(&format!("/element/{id}/value"), &json!({"text": text}));
    }

    /// Makes the window as wide as a telephone or a desk's screen.
    #[track_caller]
    pub fn wide(&self, width: u32) {
        let metrics = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
        self.call(
            "/goog/cdp/execute",
            &json!({"cmd": "Emulation.setDeviceMetricsOverride", "params": metrics}),
        );
    }

    /// Nothing on the page sticks out, on a telephone or at a desk.
    #[track_caller]
    pub fn fits(&self) {
        for width in [360, 1280] {
            self.wide(width);
            let over = self.script("return document.documentElement.scrollWidth - window.innerWidth");
            assert!(over.as_i64().unwrap_or(1) <= 0, "{} is {over} too wide at {width}", self.address());
        }
    }

    /// What a person reads on the page.
    #[track_caller]
    pub fn text(&self) -> String {
        self.script("return document.body.innerText").as_str().unwrap_or_default().to_owned()
    }

    #[track_caller]
    pub fn script(&self, script: &str) -> Value {
        self.call("/execute/sync", &json!({"script": script, "args": []}))
    }

    #[track_caller]
    pub fn address(&self) -> String {
        self.read("/url").as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the page shows the text.
    #[track_caller]
    pub fn sees(&self, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.text().contains(text) {
            assert!(Instant::now() < deadline, "{text:?} is not on {}:\n{}", self.address(), self.text());
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.agent.delete(&self.base).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}
