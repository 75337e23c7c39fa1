//! The module takes Lua from the program that loads it; here that is the fuzzer.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-lib=lua5.4");
}
