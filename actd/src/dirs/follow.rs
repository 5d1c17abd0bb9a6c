//! Keeping receipts up to date: the server's ids when the jobs are there, how they ended, where the results are.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::Path;

use super::claim::{Claim, Ledger};
use super::files;
use super::receipt::{Line, RECEIPT, Receipt};
use super::worker::Worker;

/// Most receipts that are written in one go.
const MAX_WRITTEN: usize = 500;

/// The receipts whose jobs have not ended.
#[derive(Debug, Default)]
pub(super) struct Follow {
    receipts: BTreeMap<Claim, Followed>,
    names: std::collections::HashSet<String>,
    /// The engine's revision when all were last looked at.
    rev: Option<u64>,
    /// Why one of them cannot be kept; it is tried again at each tick.
    trouble: Option<String>,
}

#[derive(Debug)]
struct Followed {
    name: String,
    receipt: Receipt,
}

impl Follow {
    /// Adds the receipt of the description `name` in `accepted/`.
    pub(super) fn add(&mut self, claim: Claim, name: String, receipt: Receipt) {
        self.rev = None;
        self.names.insert(name.clone());
        self.receipts.insert(claim, Followed { name, receipt });
    }

    /// Whether the receipt of this description may still be written.
    pub(super) fn is_followed(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Why a receipt cannot be kept up to date.
    pub(super) fn trouble(&self) -> Option<&String> {
        self.trouble.as_ref()
    }

    fn set_trouble(&mut self, trouble: Option<String>) {
        if let Some(why) = &trouble {
            self.rev = None;
            if self.trouble != trouble {
                tracing::warn!("a receipt cannot be kept up to date: {why}");
            }
        }
        self.trouble = trouble;
    }

    /// Forgets all; they are found again by their claims.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Worker {
    /// Takes up a receipt that an earlier run has left.
    pub(super) fn follow_again(&mut self, claim: Claim, ledger: &Ledger) -> io::Result<()> {
        let Some(name) = &ledger.accepted else { return claim.close() };
        match Receipt::read(&self.places.accepted.join(format!("{name}{RECEIPT}")), &claim)? {
            Some(receipt) if claim.is_of(&self.context.instance) => self.follow.add(claim, name.clone(), receipt),
            // Its keys are names of another daemon's jobs: that one goes on with it, if it comes back.
            Some(_) => {}
            None => claim.close()?,
        }
        Ok(())
    }

    /// Writes the receipts of which something new is known. One that cannot be written holds up no other, and no
    /// description: it is tried again.
    pub(super) fn keep_receipts(&mut self) -> io::Result<()> {
        let rev = self.context.engine.board.read().rev;
        if self.follow.receipts.is_empty() || self.follow.rev == Some(rev) {
            return Ok(());
        }
        let news: Vec<(Claim, Vec<Line>)> = self
            .follow
            .receipts
            .iter()
            .map(|(claim, followed)| (claim, followed, self.lines(&followed.receipt.keys())))
            .filter(|(_, followed, lines)| *lines != followed.receipt.jobs || lines.iter().all(Line::is_final))
            .take(MAX_WRITTEN)
            .map(|(claim, _, lines)| (claim.clone(), lines))
            .collect();
        if news.len() < MAX_WRITTEN {
            self.follow.rev = Some(rev);
        }
        let mut written = Vec::new();
        let mut over = Vec::new();
        let mut trouble = None;
        for (claim, lines) in news {
            let Some(followed) = self.follow.receipts.get_mut(&claim) else { continue };
            let ended = lines.iter().all(Line::is_final);
            let file = format!("{}{RECEIPT}", followed.name);
            match followed.keep(&self.places.accepted, &file, &claim, lines) {
                Ok(kept) => {
                    if ended || kept == Kept::Gone {
                        over.push(claim);
                    }
                    if kept == Kept::Written {
                        written.push(file);
                    }
                }
                Err(e) => trouble = Some(format!("{}: {e}", self.places.accepted.join(&file).display())),
            }
        }
        if !written.is_empty() {
            files::sync(&self.places.accepted, &written)?;
        }
        crate::failpoint!("dirs.receipts.written");
        for claim in over {
            if let Err(e) = claim.close() {
                trouble = Some(format!("{}: {e}", self.places.own.join(&claim.id).display()));
            } else if let Some(followed) = self.follow.receipts.remove(&claim) {
                self.follow.names.remove(&followed.name);
            }
        }
        self.follow.set_trouble(trouble);
        Ok(())
    }
}

/// What has become of a receipt.
#[derive(PartialEq, Eq)]
enum Kept {
    /// Nothing new stands in it.
    AsItWas,
    Written,
    /// A person has removed or replaced it: it is not made again.
    Gone,
}

impl Followed {
    fn keep(&mut self, accepted: &Path, file: &str, claim: &Claim, lines: Vec<Line>) -> io::Result<Kept> {
        if Receipt::read(&accepted.join(file), claim)?.is_none() {
            return Ok(Kept::Gone);
        }
        if self.receipt.jobs == lines {
            return Ok(Kept::AsItWas);
        }
        let mut receipt = self.receipt.clone();
        receipt.jobs = lines;
        files::replace(accepted, OsStr::new(file), &receipt.bytes())?;
        self.receipt = receipt;
        Ok(Kept::Written)
    }
}
