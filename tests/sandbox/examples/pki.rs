//! Makes the sandbox's PKI in a directory and one proxy in a file, for trying other servers and tools with them by hand.

use std::error::Error;
use std::path::Path;

use act_sandbox::pki::{Pki, ProxyOptions};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, dir, proxy] = &args[..] else {
        return Err("usage: pki DIRECTORY PROXY-FILE".into());
    };
    let pki = Pki::create(Path::new(dir))?;
    let proxy = pki.proxy(&ProxyOptions::default().path(proxy))?;
    println!("X509_CERT_DIR={}", pki.ca_dir().display());
    println!("X509_VOMS_DIR={}", pki.voms_dir().display());
    println!("X509_USER_PROXY={}", proxy.path.display());
    Ok(())
}
