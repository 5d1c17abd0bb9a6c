//! A sandbox and a user in one directory.

use crate::sandbox::Sandbox;
use crate::scratch::Scratch;
use crate::user::User;

/// A sandbox and a user. The order of the fields is the order in which they end.
pub struct World {
    /// The user.
    pub user: User,
    /// The server.
    pub sandbox: Sandbox,
    /// The directory of both.
    pub scratch: Scratch,
}

impl World {
    /// A sandbox and a user who has done nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::with(&[], &[])
    }

    /// The same with arguments for `act-sandbox serve` and settings of `actd:`.
    #[must_use]
    pub fn with(sandbox: &[&str], settings: &[&str]) -> Self {
        let scratch = Scratch::new();
        let sandbox = Sandbox::start(&scratch.path().join("sandbox"), sandbox);
        let user = User::new(&scratch.path().join("user"), sandbox.info(), settings);
        Self { user, sandbox, scratch }
    }

    /// A sandbox and a user who has delegated a proxy.
    #[must_use]
    pub fn ready() -> Self {
        Self::ready_with(&[], &[])
    }

    /// The same with arguments and settings.
    ///
    /// # Panics
    /// The proxy cannot be delegated.
    #[must_use]
    pub fn ready_with(sandbox: &[&str], settings: &[&str]) -> Self {
        let world = Self::with(sandbox, settings);
        let _ = world.user.actctl(&["proxy"]).ok();
        world
    }

    /// Another machine of the same user: same server, same proxy, another home.
    #[must_use]
    pub fn machine(&self, name: &str, settings: &[&str]) -> User {
        User::new(&self.scratch.path().join(name), self.sandbox.info(), settings)
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}
