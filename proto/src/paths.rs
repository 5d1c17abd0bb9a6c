//! Paths as they stand in the config file: what `~` and variables of the environment mean in them.

use std::env;
use std::path::PathBuf;

/// Replaces `~`, `$NAME` and `${NAME}`. A `~` counts only at the start, before a slash or alone.
///
/// # Errors
/// A variable that is not set, or what is no path.
pub fn expand(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() || text.contains('\0') {
        return Err("an empty path".to_owned());
    }
    let variable = |name: &str| {
        env::var(name).map_err(|_| format!("`{text}`: the environment variable {name} is not set for the daemon"))
    };
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    if let Some(after) = text.strip_prefix('~') {
        if !(after.is_empty() || after.starts_with('/')) {
            return Err(format!("`{text}`: only ~ and ~/... are expanded, not another user's home"));
        }
        out.push_str(&variable("HOME")?);
        rest = after;
    }
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(inner) = rest.strip_prefix('{') {
            let end = inner.find('}').ok_or_else(|| format!("`{text}`: `${{` without `}}`"))?;
            out.push_str(&variable(&inner[..end])?);
            rest = &inner[end + 1..];
        } else {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            if end == 0 {
                out.push('$');
            } else {
                out.push_str(&variable(&rest[..end])?);
            }
            rest = &rest[end..];
        }
    }
    out.push_str(rest);
    Ok(PathBuf::from(out))
}
