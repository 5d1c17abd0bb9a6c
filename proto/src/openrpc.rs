//! The OpenRPC document of the API, made from the types. `openrpc.json` in this package is its output; a test compares.

use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use crate::{ALL, Kind, events};

/// The document that `rpc.discover` answers with.
#[must_use]
pub fn document() -> Value {
    let mut generator =
        SchemaSettings::draft07().with(|s| s.definitions_path = "/components/schemas".into()).into_generator();
    let mut methods: Vec<Value> = ALL
        .iter()
        .map(|m| {
            let params = (m.params)(&mut generator);
            let reply = (m.reply)(&mut generator);
            json!({
                "name": m.name,
                "summary": m.summary,
                "paramStructure": "by-name",
                "params": [{ "name": "params", "schema": params, "description": "the parameter object itself" }],
                "result": { "name": "result", "schema": reply },
                "x-changes": m.changes,
            })
        })
        .collect();
    let event = generator.subschema_for::<events::Event>();
    let list = generator.subschema_for::<events::ListParams>();
    methods.push(json!({
        "name": "events.subscribe",
        "summary": "Starts a subscription: events arrive as notifications of the method `events.event`.",
        "paramStructure": "by-name",
        "params": [{ "name": "params", "schema": list, "description": "the parameter object itself" }],
        "result": { "name": "subscription", "schema": { "description": "the subscription's id" } },
        "x-notification": { "method": "events.event", "params": event },
    }));
    methods.push(json!({
        "name": "events.unsubscribe",
        "summary": "Ends a subscription of this connection; whether there was one.",
        "paramStructure": "either",
        "params": [{ "name": "subscription", "required": true, "schema": { "description": "the subscription's id" } }],
        "result": { "name": "result", "schema": { "type": "boolean" } },
    }));
    let errors: Vec<Value> = Kind::ALL
        .iter()
        .map(|k| json!({ "code": k.code().0, "message": k.doc(), "data": { "kind": k.word() } }))
        .collect();
    json!({
        "openrpc": "1.3.2",
        "info": { "title": "actd", "version": format!("{}.0.0", crate::PROTOCOL), "description": "Control API of actd over its Unix socket." },
        "methods": methods,
        "components": { "schemas": generator.take_definitions(true), "errors": errors },
    })
}
