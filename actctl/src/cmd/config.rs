//! `config`: the settings in force, and where the file is.

use act_proto::method::DaemonConfig;
use serde_json::{Value, json};

use crate::cli::Config;
use crate::ctx::Ctx;
use crate::failure::{OK, Outcome};
use crate::table;

/// Runs the verb.
///
/// # Errors
/// The daemon's.
pub async fn run(ctx: &Ctx, args: &Config) -> Outcome {
    match args {
        Config::Path => {
            let instance = ctx.instance()?;
            if ctx.out.json {
                ctx.out.value(
                    &json!({ "schema": "act.path/1", "path": instance.config, "exists": instance.config.exists() }),
                )?;
            } else {
                ctx.out.line(&instance.config.display().to_string())?;
            }
        }
        Config::Show { origin } => {
            let mut session = ctx.session().await?;
            let config = session.call::<DaemonConfig>(&Default::default()).await?;
            if ctx.out.json {
                ctx.out.value(&json!({
                    "schema": "act.config/1", "file": config.file, "settings": config.settings, "warnings": config.warnings,
                }))?;
                return Ok(OK);
            }
            let rows: Vec<Vec<String>> = config
                .settings
                .iter()
                .map(|s| {
                    let mut row = vec![s.key.clone(), plain(&s.value)];
                    row.extend(origin.then(|| s.origin.clone()));
                    row
                })
                .collect();
            let heads: &[&str] = if *origin { &["key", "value", "origin"] } else { &["key", "value"] };
            ctx.out.text(&table::plain(heads, &rows))?;
            for warning in &config.warnings {
                ctx.out.warn(warning);
            }
        }
    }
    Ok(OK)
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(","),
        other => table::text(other),
    }
}
