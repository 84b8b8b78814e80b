//! Cargo does not see that a migration was added unless it is told where to look.
fn main() {
    println!("cargo::rerun-if-changed=migrations");
}
