// Job descriptions in VS Code. Everything about the language and the jobs comes from `actctl lsp`; here it is shown.
import * as path from 'node:path';
import * as vscode from 'vscode';
import { LanguageClient, State } from 'vscode-languageclient/node';
import { JobTree, type Job, type View } from './jobs';
import { Status } from './status';

/** Changes that come so soon after each other are shown once, in milliseconds. */
const GATHER = 200;

let client: LanguageClient | undefined;

export async function activate(context: vscode.ExtensionContext): Promise<void> {
  const settings = vscode.workspace.getConfiguration('actd');
  const command = settings.get<string>('path', 'actctl');
  const args = [...settings.get<string[]>('arguments', []), 'lsp'];
  client = new LanguageClient('actd', 'actd', { command, args }, { documentSelector: [{ language: 'xrsl' }] });
  const lsp = client;

  const tree = new JobTree();
  const status = new Status();
  let view: View | undefined;
  let gathering: NodeJS.Timeout | undefined;
  const refresh = () => {
    gathering ??= setTimeout(async () => {
      gathering = undefined;
      if (lsp.state !== State.Running) return;
      view = await lsp.sendRequest<View>('actd/jobs', {});
      tree.show(view);
      status.show(view);
    }, GATHER);
  };
  const minute = setInterval(() => status.render(), 60_000);

  const run = async (command: string, argument: object): Promise<void> => {
    try {
      await lsp.sendRequest('workspace/executeCommand', { command, arguments: [argument] });
    } catch (error) {
      void vscode.window.showErrorMessage(error instanceof Error ? error.message : String(error));
    }
  };
  const register = (name: string, action: (job: Job) => unknown) =>
    context.subscriptions.push(vscode.commands.registerCommand(name, action));
  register('actd.job.kill', (job) => run('actd.kill', { keys: [job.key] }));
  register('actd.job.stdout', (job) => run('actd.openStdout', { keys: [job.key], file: 'stdout' }));
  register('actd.job.stderr', (job) => run('actd.openStdout', { keys: [job.key], file: 'stderr' }));
  register('actd.job.fetch', async (job) => {
    const options = { canSelectFolders: true, canSelectFiles: false, openLabel: 'Put the results here' };
    const [dir] = (await vscode.window.showOpenDialog(options)) ?? [];
    if (dir) await run('actd.fetch', { keys: [job.key], dir: dir.fsPath });
  });
  register('actd.job.results', openResults);
  context.subscriptions.push(
    vscode.commands.registerCommand('actd.file.submit', async () => {
      const document = vscode.window.activeTextEditor?.document;
      if (document?.languageId !== 'xrsl') return;
      const groups = view?.groups.length ? view.groups : ['default'];
      const group = groups.length === 1 ? groups[0] : await vscode.window.showQuickPick(groups, { placeHolder: 'Submit to which clusters?' });
      if (group) await run('actd.submit', { uri: document.uri.toString(), group });
    }),
    vscode.commands.registerCommand('actd.restart', () => lsp.restart()),
    vscode.window.registerTreeDataProvider('actd.jobs', tree),
    lsp.onNotification('$/actd/jobs', refresh),
    status,
    { dispose: () => clearInterval(minute) },
  );
  try {
    await lsp.start();
    refresh();
  } catch {
    const choice = await vscode.window.showErrorMessage(`\`${command} lsp\` cannot be started: install actctl, or set actd.path to it.`, 'Settings');
    if (choice) await vscode.commands.executeCommand('workbench.action.openSettings', 'actd.path');
  }
}

/** Opens a file of a job's results: the only one, or one that is chosen. */
async function openResults(job: Job): Promise<void> {
  if (!job.results) return;
  const root = vscode.Uri.file(job.results);
  const files: string[] = [];
  const walk = async (dir: vscode.Uri, depth: number): Promise<void> => {
    for (const [name, type] of await vscode.workspace.fs.readDirectory(dir)) {
      const entry = vscode.Uri.joinPath(dir, name);
      if (type === vscode.FileType.Directory && depth < 4) await walk(entry, depth + 1);
      else if (type === vscode.FileType.File && !name.startsWith('.actd-')) files.push(path.relative(root.fsPath, entry.fsPath));
    }
  };
  try {
    await walk(root, 0);
  } catch (error) {
    void vscode.window.showErrorMessage(`${job.results}: ${error instanceof Error ? error.message : String(error)}`);
    return;
  }
  // The computing element's own logs last.
  files.sort((a, b) => Number(a.startsWith('gmlog')) - Number(b.startsWith('gmlog')) || a.localeCompare(b));
  const file = files.length === 1 ? files[0] : await vscode.window.showQuickPick(files, { placeHolder: `Results of ${job.name ?? job.key}` });
  if (file) await vscode.window.showTextDocument(vscode.Uri.joinPath(root, file), { preview: true });
}

export function deactivate(): Thenable<void> | undefined {
  return client?.stop();
}
