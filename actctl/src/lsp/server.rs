//! The editor's side: requests and notifications in, answers out. One thread; it never waits for the daemon.

use std::collections::BTreeMap;
use std::time::Duration;

use crossbeam_channel::Receiver;
use gen_lsp_types::{
    CodeActionKind, CodeActionOptions, CodeActionParams, CodeLens, CodeLensOptions, CodeLensParams, CompletionOptions,
    CompletionParams, Definition, DefinitionParams, DidChangeTextDocumentParams, DidCloseTextDocumentParams,
    DidOpenTextDocumentParams, DocumentFormattingParams, DocumentSymbolParams, ExecuteCommandOptions,
    ExecuteCommandParams, FoldingRangeParams, Full, HoverParams, InitializeParams, MessageType,
    PublishDiagnosticsParams, ReferenceParams, RenameOptions, RenameParams, SemanticTokens, SemanticTokensLegend,
    SemanticTokensOptions, SemanticTokensParams, ServerCapabilities, TextDocumentContentChangeEvent,
    TextDocumentPositionParams, TextDocumentSyncKind, TextDocumentSyncOptions, TextEdit, Uri,
};
use lsp_server::{Connection, ErrorCode, Message, Notification, Request, RequestId, Response};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::commands::{Order, Outcome};
use super::document::Document;
use super::jobs::Jobs;
use super::lenses::{self, told};
use super::link::News;
use super::text::Text;
use super::{Done, complete, hover, mend, navigate, outline};
use crate::failure::Failure;
use crate::standing::Standing;

/// Jobs in the editor's own views, at most.
const MAX_VIEW: usize = 1_000;
/// Jobs that a message about jobs tells of.
const TOLD: usize = 5;

/// How often it is looked whether local inputs have come or gone.
const LOOK: Duration = Duration::from_secs(3);

/// What a request gives: an answer, none yet, or an error for people.
type Answer = Result<Option<Value>, String>;

struct Server<'c> {
    connection: &'c Connection,
    orders: mpsc::Sender<(RequestId, Order)>,
    documents: BTreeMap<Uri, Document>,
    /// Documents whose text has changed since they were judged.
    dirty: Vec<Uri>,
    jobs: Jobs,
    client: Client,
    /// Lenses as they were told last.
    told: BTreeMap<Uri, Vec<CodeLens>>,
    asked: i32,
}

/// What the editor can do.
#[derive(Debug, Clone, Copy, Default)]
struct Client {
    snippets: bool,
    refreshes_lenses: bool,
    shows_documents: bool,
}

/// Arguments of our commands.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Argument {
    uri: Option<Uri>,
    group: Option<String>,
    keys: Vec<String>,
    file: Option<String>,
    dir: Option<String>,
}

/// Serves until the editor says goodbye.
///
/// # Errors
/// What it says is not the protocol.
pub(super) fn serve(
    connection: &Connection,
    news: &Receiver<News>,
    done: &Receiver<Done>,
    orders: mpsc::Sender<(RequestId, Order)>,
) -> Result<(), String> {
    let (id, params) = match connection.initialize_start() {
        Ok(started) => started,
        // Gone before it said anything, or `exit` at once.
        Err(e) => return if e.channel_is_disconnected() { Ok(()) } else { Err(e.to_string()) },
    };
    let params: InitializeParams = serde_json::from_value(params).map_err(|e| format!("initialize: {e}"))?;
    let server_info = json!({ "name": "actctl lsp", "version": env!("CARGO_PKG_VERSION") });
    let result = json!({ "capabilities": capabilities(), "serverInfo": server_info });
    connection.initialize_finish(id, result).map_err(|e| e.to_string())?;
    let mut server = Server {
        connection,
        orders,
        documents: BTreeMap::new(),
        dirty: Vec::new(),
        jobs: Jobs::default(),
        client: client(&params),
        told: BTreeMap::new(),
        asked: 0,
    };
    let look = crossbeam_channel::tick(LOOK);
    loop {
        crossbeam_channel::select! {
            recv(look) -> _ => server.look(),
            recv(connection.receiver) -> message => {
                let Ok(message) = message else { return Ok(()) };
                if server.message(message)? {
                    return Ok(());
                }
                // Whatever is there already is taken first: many letters typed are judged once.
                while let Ok(message) = connection.receiver.try_recv() {
                    if server.message(message)? {
                        return Ok(());
                    }
                }
                server.judge();
            }
            recv(news) -> news => match news {
                Ok(news) => server.news(news),
                // The other half ends only with the program.
                Err(_) => return Ok(()),
            },
            recv(done) -> done => match done {
                Ok((id, outcome)) => server.done(id, outcome),
                Err(_) => return Ok(()),
            },
        }
    }
}

fn client(params: &InitializeParams) -> Client {
    let all = &params.capabilities;
    let text = all.text_document.as_ref();
    let completion = text.and_then(|t| t.completion.as_ref()).and_then(|c| c.completion_item.as_ref());
    let lenses = all.workspace.as_ref().and_then(|w| w.code_lens.as_ref());
    let documents = all.window.as_ref().and_then(|w| w.show_document.as_ref());
    Client {
        snippets: completion.and_then(|c| c.snippet_support).unwrap_or_default(),
        refreshes_lenses: lenses.and_then(|l| l.refresh_support).unwrap_or_default(),
        shows_documents: documents.is_some_and(|d| d.support),
    }
}

fn capabilities() -> ServerCapabilities {
    ServerCapabilities {
        text_document_sync: Some(
            TextDocumentSyncOptions {
                open_close: Some(true),
                change: Some(TextDocumentSyncKind::Incremental),
                save: Some(true.into()),
                ..TextDocumentSyncOptions::default()
            }
            .into(),
        ),
        completion_provider: Some(CompletionOptions {
            trigger_characters: Some(["(", "=", "\"", "'", "/", "$"].map(str::to_owned).to_vec()),
            ..CompletionOptions::default()
        }),
        hover_provider: Some(true.into()),
        definition_provider: Some(true.into()),
        references_provider: Some(true.into()),
        document_symbol_provider: Some(true.into()),
        code_action_provider: Some(
            CodeActionOptions {
                code_action_kinds: Some(vec![CodeActionKind::QuickFix, CodeActionKind::SourceFixAll]),
                ..CodeActionOptions::default()
            }
            .into(),
        ),
        code_lens_provider: Some(CodeLensOptions::default()),
        document_formatting_provider: Some(true.into()),
        rename_provider: Some(RenameOptions { prepare_provider: Some(true), ..RenameOptions::default() }.into()),
        folding_range_provider: Some(true.into()),
        semantic_tokens_provider: Some(
            SemanticTokensOptions {
                legend: SemanticTokensLegend {
                    token_types: outline::TOKEN_TYPES.map(str::to_owned).to_vec(),
                    token_modifiers: Vec::new(),
                },
                full: Some(Full::Bool(true)),
                ..SemanticTokensOptions::default()
            }
            .into(),
        ),
        execute_command_provider: Some(ExecuteCommandOptions {
            commands: lenses::COMMANDS.map(str::to_owned).to_vec(),
            ..ExecuteCommandOptions::default()
        }),
        ..ServerCapabilities::default()
    }
}

fn read<P: DeserializeOwned>(params: Value) -> Result<P, String> {
    serde_json::from_value(params).map_err(|e| format!("parameters: {e}"))
}

fn write<R: Serialize>(reply: R) -> Answer {
    serde_json::to_value(reply).map(Some).map_err(|e| e.to_string())
}

impl Server<'_> {
    fn send(&self, message: impl Into<Message>) {
        // An editor that has gone is noticed where messages are read.
        let _ = self.connection.sender.send(message.into());
    }

    fn notify(&self, method: &str, params: impl Serialize) {
        self.send(Notification::new(method.to_owned(), params));
    }

    /// Asks the editor for something; its answer says nothing new.
    fn ask(&mut self, method: &str, params: impl Serialize) {
        self.asked = self.asked.wrapping_add(1);
        self.send(Request::new(format!("actctl-{}", self.asked).into(), method.to_owned(), params));
    }

    /// Whether it was goodbye.
    fn message(&mut self, message: Message) -> Result<bool, String> {
        match message {
            Message::Request(request) => {
                if self.connection.handle_shutdown(&request).map_err(|e| e.to_string())? {
                    return Ok(true);
                }
                self.judge();
                let id = request.id.clone();
                match self.request(request) {
                    Ok(Some(value)) => self.send(Response::new_ok(id, value)),
                    Ok(None) => {}
                    Err((code, why)) => self.send(Response::new_err(id, code as i32, why)),
                }
            }
            Message::Notification(notification) => {
                if notification.method == "exit" {
                    return Ok(true);
                }
                self.notification(notification);
            }
            Message::Response(_) => {}
        }
        Ok(false)
    }

    fn notification(&mut self, notification: Notification) {
        let Notification { method, params } = notification;
        match method.as_str() {
            "textDocument/didOpen" => {
                let Ok(p) = read::<DidOpenTextDocumentParams>(params) else { return };
                let item = p.text_document;
                let document = Document::new(item.uri.clone(), item.version, Text::new(item.text));
                self.publish(&document);
                self.told.insert(item.uri.clone(), lenses::lenses(&document, &self.jobs));
                self.documents.insert(item.uri, document);
            }
            "textDocument/didChange" => {
                let Ok(p) = read::<DidChangeTextDocumentParams>(params) else { return };
                let uri = p.text_document.text_document_identifier.uri;
                let Some(document) = self.documents.get_mut(&uri) else { return };
                document.version = p.text_document.version;
                for change in p.content_changes {
                    match change {
                        TextDocumentContentChangeEvent::TextDocumentContentChangePartial(c) => {
                            document.text.replace(c.range, &c.text);
                        }
                        TextDocumentContentChangeEvent::TextDocumentContentChangeWholeDocument(c) => {
                            document.text = Text::new(c.text);
                        }
                    }
                }
                if !self.dirty.contains(&uri) {
                    self.dirty.push(uri);
                }
            }
            "textDocument/didClose" => {
                let Ok(p) = read::<DidCloseTextDocumentParams>(params) else { return };
                let uri = p.text_document.uri;
                self.documents.remove(&uri);
                self.told.remove(&uri);
                self.notify("textDocument/publishDiagnostics", PublishDiagnosticsParams::new(uri, None, Vec::new()));
            }
            // Other files may be there now.
            "textDocument/didSave" | "workspace/didChangeWatchedFiles" => self.look(),
            _ => {}
        }
    }

    /// Judges again what may have changed by other files.
    fn look(&mut self) {
        let mut changed = Vec::new();
        for (uri, document) in &mut self.documents {
            let before = std::mem::take(&mut document.findings);
            document.judge();
            if document.findings != before {
                changed.push(uri.clone());
            }
        }
        changed.iter().filter_map(|uri| self.documents.get(uri)).for_each(|document| self.publish(document));
    }

    /// Judges what has changed.
    fn judge(&mut self) {
        for uri in std::mem::take(&mut self.dirty) {
            if let Some(document) = self.documents.get_mut(&uri) {
                document.changed();
            }
            if let Some(document) = self.documents.get(&uri) {
                self.publish(document);
            }
        }
    }

    fn publish(&self, document: &Document) {
        let diagnostics = mend::diagnostics(document);
        let params = PublishDiagnosticsParams::new(document.uri.clone(), Some(document.version), diagnostics);
        self.notify("textDocument/publishDiagnostics", params);
    }

    fn document(&self, uri: &Uri) -> Result<&Document, String> {
        self.documents.get(uri).ok_or_else(|| format!("{uri} is not open"))
    }

    fn at(&self, p: &TextDocumentPositionParams) -> Result<(&Document, usize), String> {
        let document = self.document(&p.text_document.uri)?;
        Ok((document, document.text.offset(p.position)))
    }

    fn request(&mut self, request: Request) -> Result<Option<Value>, (ErrorCode, String)> {
        let Request { id, method, params } = request;
        let answer = match method.as_str() {
            "textDocument/completion" => read::<CompletionParams>(params).and_then(|p| {
                let (document, at) = self.at(&p.text_document_position_params)?;
                write(complete::complete(document, at, &self.jobs.known, self.client.snippets))
            }),
            "textDocument/hover" => read::<HoverParams>(params).and_then(|p| {
                let (document, at) = self.at(&p.text_document_position_params)?;
                write(hover::hover(document, at))
            }),
            "textDocument/codeAction" => read::<CodeActionParams>(params).and_then(|p| {
                let document = self.document(&p.text_document.uri)?;
                write(mend::actions(document, p.range, &p.context.only.unwrap_or_default()))
            }),
            "textDocument/codeLens" => read::<CodeLensParams>(params).and_then(|p| {
                let lenses = lenses::lenses(self.document(&p.text_document.uri)?, &self.jobs);
                self.told.insert(p.text_document.uri, lenses.clone());
                write(lenses)
            }),
            "textDocument/formatting" => read::<DocumentFormattingParams>(params)
                .and_then(|p| write(format(self.document(&p.text_document.uri)?))),
            "textDocument/documentSymbol" => read::<DocumentSymbolParams>(params)
                .and_then(|p| write(outline::symbols(self.document(&p.text_document.uri)?))),
            "textDocument/foldingRange" => read::<FoldingRangeParams>(params)
                .and_then(|p| write(outline::folds(self.document(&p.text_document.uri)?))),
            "textDocument/semanticTokens/full" => read::<SemanticTokensParams>(params).and_then(|p| {
                let data = outline::semantic_tokens(self.document(&p.text_document.uri)?);
                write(SemanticTokens { result_id: None, data })
            }),
            "textDocument/definition" => read::<DefinitionParams>(params).and_then(|p| {
                let (document, at) = self.at(&p.text_document_position_params)?;
                write(Definition::from(navigate::definition(document, at)))
            }),
            "textDocument/references" => read::<ReferenceParams>(params).and_then(|p| {
                let (document, at) = self.at(&p.text_document_position_params)?;
                write(navigate::references(document, at, p.context.include_declaration))
            }),
            "textDocument/prepareRename" => read::<TextDocumentPositionParams>(params).and_then(|p| {
                let (document, at) = self.at(&p)?;
                let found = navigate::variable(document, at);
                write(found.map(|(o, _)| json!({ "range": document.text.range(o.span), "placeholder": o.name })))
            }),
            "textDocument/rename" => read::<RenameParams>(params).and_then(|p| {
                let (document, at) = self.at(&p.text_document_position_params)?;
                write(mend::changes(document, navigate::rename(document, at, &p.new_name)?))
            }),
            "workspace/executeCommand" => read::<ExecuteCommandParams>(params).and_then(|p| self.command(id, p)),
            "actd/jobs" => write(self.jobs.view(MAX_VIEW)),
            other => return Err((ErrorCode::MethodNotFound, format!("there is no method {other}"))),
        };
        answer.map_err(|why| {
            let code =
                if why.starts_with("parameters: ") { ErrorCode::InvalidParams } else { ErrorCode::RequestFailed };
            (code, why)
        })
    }

    fn command(&mut self, id: RequestId, p: ExecuteCommandParams) -> Answer {
        let first = p.arguments.unwrap_or_default().into_iter().next();
        let argument: Argument = first.map_or_else(|| Ok(Argument::default()), read)?;
        let order = match p.command.as_str() {
            lenses::SUBMIT => {
                let document = self.document(argument.uri.as_ref().ok_or("parameters: a uri is needed")?)?;
                let path = document.path.clone().ok_or("save it first: only a file can be submitted")?;
                Order::Submit { text: document.text.as_str().to_owned(), path, group: argument.group }
            }
            lenses::KILL => {
                let is_going_on = |k: &String| self.jobs.get(k).is_none_or(|j| !j.standing.is_ended());
                let keys: Vec<String> = self.keys(&argument)?.into_iter().filter(is_going_on).collect();
                if keys.is_empty() {
                    return Err("none of these jobs is under way".into());
                }
                Order::Kill(keys)
            }
            lenses::FETCH => {
                let (dir, keys) = (self.dir(&argument)?, self.keys(&argument)?);
                let open = |k: &String| self.jobs.get(k).filter(|j| !j.closed).map(|j| j.standing);
                let with = |s| keys.iter().filter(|k| open(k) == Some(s)).cloned().collect::<Vec<_>>();
                let (done, failed) = (with(Standing::Done), with(Standing::Failed));
                if done.is_empty() && failed.is_empty() {
                    return Err("none of these jobs has results that nobody has got yet".into());
                }
                Order::Fetch { done, failed, dir }
            }
            lenses::OUTPUT => {
                let keys = self.keys(&argument)?;
                // Of many, one that went wrong says most.
                let rank = |k: &&String| self.jobs.get(k).map(|j| j.standing != Standing::Failed);
                let key = keys.iter().min_by_key(rank).ok_or("there is no job")?.clone();
                Order::Output { key, file: argument.file.unwrap_or_else(|| "stdout".to_owned()) }
            }
            lenses::JOBS => {
                let text = self.tell(&self.keys(&argument)?);
                self.show(MessageType::Info, &text);
                return write(text);
            }
            other => return Err(format!("there is no command {other}")),
        };
        self.orders.try_send((id, order)).map_err(|_| "too many commands are under way: try again".to_owned())?;
        Ok(None)
    }

    /// The jobs that a command is about.
    fn keys(&self, argument: &Argument) -> Result<Vec<String>, String> {
        if !argument.keys.is_empty() {
            return Ok(argument.keys.clone());
        }
        let document = self.document(argument.uri.as_ref().ok_or("parameters: a uri or keys are needed")?)?;
        let last = document.path.as_deref().and_then(|path| self.jobs.last(&told(path)));
        last.map(|l| l.keys).ok_or_else(|| "no jobs of this description are known".to_owned())
    }

    /// Where results go: what was asked for, else beside the description.
    fn dir(&self, argument: &Argument) -> Result<std::path::PathBuf, String> {
        if let Some(dir) = &argument.dir {
            return Ok(dir.into());
        }
        let of_job = || {
            let description = self.jobs.get(argument.keys.first()?)?.description.as_ref()?;
            std::path::Path::new(description).parent().filter(|p| p.is_absolute()).map(ToOwned::to_owned)
        };
        let of_document = || self.documents.get(argument.uri.as_ref()?)?.dir().map(ToOwned::to_owned);
        of_document().or_else(of_job).ok_or_else(|| "parameters: a dir is needed".to_owned())
    }

    /// How jobs stand, the bad ones first.
    fn tell(&self, keys: &[String]) -> String {
        let mut jobs: Vec<_> = keys.iter().filter_map(|k| self.jobs.get(k)).collect();
        jobs.sort_by_key(|j| (j.standing != Standing::Failed, j.standing));
        let line = |j: &&super::jobs::Brief| {
            let id = j.id.map_or_else(|| j.key.clone(), |id| id.to_string());
            let name = j.name.as_deref().unwrap_or("''");
            let why = j.error.as_deref().map(|e| format!(": {e}")).unwrap_or_default();
            format!("{id} {name} {}{why}", j.standing.word())
        };
        let mut lines: Vec<String> = jobs.iter().take(TOLD).map(line).collect();
        if jobs.len() > TOLD {
            lines.push(format!("and {} more: `actctl stat`", jobs.len() - TOLD));
        }
        lines.join("\n")
    }

    fn show(&self, kind: MessageType, text: &str) {
        if !text.is_empty() {
            self.notify("window/showMessage", json!({ "type": u32::from(kind), "message": text }));
        }
    }

    fn done(&mut self, id: RequestId, outcome: Result<Outcome, Failure>) {
        match outcome {
            Ok(outcome) => {
                self.jobs.update(outcome.jobs);
                let kind = if outcome.warning { MessageType::Warning } else { MessageType::Info };
                self.send(Response::new_ok(id, outcome.value));
                self.show(kind, &outcome.message);
                if let Some(uri) = outcome.open.and_then(|path| Uri::from_file_path(path).ok())
                    && self.client.shows_documents
                {
                    self.ask("window/showDocument", json!({ "uri": uri, "takeFocus": true }));
                }
                self.tell_jobs();
            }
            Err(failure) => {
                let hint = failure.hint.map(|h| format!(" ({h})")).unwrap_or_default();
                self.send(Response::new_err(id, ErrorCode::RequestFailed as i32, failure.message + &hint));
            }
        }
    }

    fn news(&mut self, news: News) {
        match news {
            News::Connected => self.jobs.connected = true,
            News::Lost => self.jobs.connected = false,
            News::All(jobs) => {
                self.jobs.clear();
                self.jobs.update(jobs);
            }
            News::Jobs(jobs) => self.jobs.update(jobs),
            // Only others' rows vanish, and those have no file here.
            News::Gone(_) => {}
            News::Groups(groups) => self.jobs.known.groups = groups,
            News::Clusters(clusters) => self.jobs.known.server_clusters = clusters,
            News::Environments(names) => self.jobs.known.environments = names,
            News::Proxy(status) => self.jobs.proxy = Some(*status),
        }
        self.tell_jobs();
    }

    /// Says that something of jobs has changed; editors that cannot be asked to read lenses again do so on this word.
    fn tell_jobs(&mut self) {
        let mut changed = Vec::new();
        for (uri, document) in &self.documents {
            let now = lenses::lenses(document, &self.jobs);
            if self.told.get(uri) != Some(&now) {
                changed.push(uri.clone());
                self.told.insert(uri.clone(), now);
            }
        }
        if !changed.is_empty() && self.client.refreshes_lenses {
            self.ask("workspace/codeLens/refresh", Value::Null);
        }
        self.notify("$/actd/jobs", json!({ "lenses": changed }));
    }
}

/// The whole text in its layout; nothing to do if it has it, or if ARC would refuse it.
fn format(document: &Document) -> Vec<TextEdit> {
    let Some(new_text) = xrsl::layout(&document.parsed) else { return Vec::new() };
    if new_text == document.text.as_str() {
        return Vec::new();
    }
    vec![TextEdit { range: document.text.whole(), new_text }]
}
