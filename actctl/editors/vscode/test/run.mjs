// A real VS Code (code-server) in headless Chromium, with the extension as a user installs it: a mistake is shown and
// corrected, the lens submits to the sandbox, the tree follows the job to its end, its results are opened.
//
//   node run.mjs OUT     TOOLS=directory with code-server and playwright-core, VSIX=the extension, WS=folder with job.xrsl;
//                        ACTCTL=the program; the user's environment (HOME, XDG_*) is inherited
import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import net from 'node:net';
import path from 'node:path';

const { TOOLS, VSIX, WS, ACTCTL } = process.env;
const { chromium } = createRequire(path.join(TOOLS, 'package.json'))('playwright-core');
const OUT = path.resolve(process.argv[2]);
const began = Date.now();
const log = (...words) => console.log(((Date.now() - began) / 1000).toFixed(1).padStart(5), ...words);
const LONG = 60_000;

fs.rmSync(OUT, { recursive: true, force: true });
for (const dir of ['data/User', 'data/Machine', 'exts']) fs.mkdirSync(path.join(OUT, dir), { recursive: true });
fs.writeFileSync(path.join(OUT, 'data/User/settings.json'), JSON.stringify({
  'security.workspace.trust.enabled': false, 'workbench.startupEditor': 'none', 'telemetry.telemetryLevel': 'off', 'update.mode': 'none',
  'extensions.autoUpdate': false, 'extensions.autoCheckUpdates': false, 'extensions.ignoreRecommendations': true,
  'workbench.enableExperiments': false, 'workbench.tips.enabled': false, 'git.enabled': false, 'remote.autoForwardPorts': false,
  'chat.commandCenter.enabled': false, 'files.hotExit': 'off', 'workbench.colorTheme': 'Default Light Modern', 'editor.minimap.enabled': false,
}));
// Paths of programs are settings of the machine. (A login shell's PATH is in force there, not ours.)
fs.writeFileSync(path.join(OUT, 'data/Machine/settings.json'), JSON.stringify({ 'actd.path': ACTCTL }));
fs.writeFileSync(path.join(OUT, 'config.yaml'), 'auth: none\n');
// Nothing is asked of any gallery.
const gallery = JSON.stringify({ serviceUrl: '', itemUrl: '', resourceUrlTemplate: '' });
const env = { ...process.env, EXTENSIONS_GALLERY: gallery, CS_DISABLE_GETTING_STARTED_OVERRIDE: '1' };
const server = path.join(TOOLS, 'node_modules/code-server/out/node/entry.js');
const common = ['--user-data-dir', path.join(OUT, 'data'), '--extensions-dir', path.join(OUT, 'exts'), '--config', path.join(OUT, 'config.yaml')];
execFileSync(process.execPath, [server, ...common, '--install-extension', VSIX], { env, stdio: 'ignore' });
log('the VSIX is installed');

const port = await new Promise((found) => {
  const probe = net.createServer().listen(0, '127.0.0.1', () => {
    const { port } = probe.address();
    probe.close(() => found(port));
  });
});
const words = fs.openSync(path.join(OUT, 'code-server.log'), 'w');
const code = spawn(process.execPath, [server, ...common, '--bind-addr', `127.0.0.1:${port}`, '--auth', 'none', '--disable-telemetry',
  '--disable-update-check', '--disable-workspace-trust', '--disable-getting-started-override', '--disable-proxy', '--ignore-last-opened', WS],
{ env, stdio: ['ignore', words, words], detached: true });
let ended = false;
code.on('exit', () => (ended = true));

let browser;
let result = 1;
try {
  for (let n = 0; ; n++) {
    if (ended || n > 600) throw new Error('code-server does not serve');
    const healthy = await fetch(`http://127.0.0.1:${port}/healthz`).then((r) => r.ok, () => false);
    if (healthy) break;
    await new Promise((go) => setTimeout(go, 100));
  }
  browser = await chromium.launchPersistentContext(path.join(OUT, 'chrome'), {
    executablePath: '/usr/bin/chromium', headless: true, viewport: { width: 1100, height: 640 },
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update',
      '--disable-sync', '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1'],
  });
  const page = browser.pages()[0] ?? (await browser.newPage());
  const there = (selector, text) => page.locator(selector, text ? { hasText: text } : undefined).first();
  const wait = async (what, locator) => {
    try {
      await locator.waitFor({ timeout: LONG });
    } catch {
      throw new Error(`waited in vain for ${what}`);
    }
    log(what);
  };
  const file = path.join(WS, 'job.xrsl');
  const url = new URL(`http://127.0.0.1:${port}/`);
  url.searchParams.set('folder', WS);
  url.searchParams.set('payload', JSON.stringify([['openFile', `vscode-remote://127.0.0.1:${port}${file}`]]));
  await page.goto(url.href);
  await wait('the file is open', there('.tab[data-resource-name="job.xrsl"]'));
  await wait('the squiggle', there('.monaco-editor .squiggly-error'));
  await page.keyboard.press('Control+Shift+KeyM');
  await wait('the problem', there('.markers-panel .monaco-list-row', /did you mean|not a|unknown|exectuable/i));
  // The view of jobs beside it, for the picture.
  await there('.activitybar a.action-label[aria-label*="Grid jobs"]').click();
  await wait('the view of jobs', there('.welcome-view-content', 'No jobs yet'));
  // Code lenses are asked for only while the text has the focus.
  await page.keyboard.press('Control+Digit1');
  await page.waitForSelector('.monaco-editor.focused');
  await wait('the lens', there('.monaco-editor .codelens-decoration a', 'Submit to default'));
  await wait('the status bar', there('.statusbar-item', /0 running.*proxy/));

  await there('.view-line span', 'exectuable').click();
  await page.keyboard.press('Control+Period');
  await wait('the quick fix', there('.action-widget .monaco-list-row', 'executable'));
  await page.keyboard.press('Enter');
  await page.waitForSelector('.monaco-editor .squiggly-error', { state: 'detached', timeout: LONG });
  log('it is corrected');
  await page.keyboard.press('Control+KeyS');
  await page.keyboard.press('Control+Digit1');
  await page.waitForSelector('.monaco-editor.focused');
  await there('.monaco-editor .codelens-decoration a', 'Submit to default').click();
  await wait('the word that it is submitted', there('.notification-list-item-message', 'Submitted from-code (j1) to default'));
  await page.keyboard.press('Control+Digit1');
  await wait('the lens of a job that is under way', there('.monaco-editor .codelens-decoration', /Last: 1 (submitting|queued|running)/));
  await wait('the job in the tree', there('.pane-body .monaco-list-row', 'from-code'));
  await wait('the lens of a job that is done', there('.monaco-editor .codelens-decoration', 'Last: 1 done'));
  await wait('the tree says done', there('.pane-body .monaco-list-row[aria-level="1"]', /Done/));
  await wait('the status bar says done', there('.statusbar-item', '1 done'));
  // Its results are there when it can be clicked; the quick list has its files.
  const row = there('.pane-body .monaco-list-row[aria-level="2"]', 'from-code');
  for (let n = 0; ; n++) {
    await row.click();
    const chosen = there('.quick-input-widget .monaco-list-row', 'out.txt');
    if (await chosen.waitFor({ timeout: 2000 }).then(() => true, () => false)) {
      await chosen.click();
      break;
    }
    if (n > 20) throw new Error('the results are not offered');
  }
  await wait('the results are open', there('.tab[data-resource-name="out.txt"]'));
  await wait('what the job has written', there('.view-line', 'written'));

  // Once more a mistake, beside what has been done.
  await there('.tab[data-resource-name="job.xrsl"]').click();
  await page.waitForSelector('.monaco-editor.focused');
  await page.keyboard.press('Control+End');
  await page.keyboard.insertText(' (memroy="2000")\n');
  await wait('the next squiggle', there('.monaco-editor .squiggly-error'));
  await wait('the next problem', there('.markers-panel .monaco-list-row', 'memroy'));
  await wait('the lens is still there', there('.monaco-editor .codelens-decoration', 'Last: 1 done'));
  await page.screenshot({ path: path.join(OUT, 'screenshot.png') });
  result = 0;
} catch (error) {
  log('FAILED', error.message);
  await browser?.pages()[0]?.screenshot({ path: path.join(OUT, 'failed.png') }).catch(() => {});
} finally {
  await browser?.close();
  if (!ended) {
    process.kill(-code.pid, 'SIGTERM');
    for (let n = 0; n < 50 && !ended; n++) await new Promise((go) => setTimeout(go, 100));
    if (!ended) process.kill(-code.pid, 'SIGKILL');
  }
  log(result ? 'failed' : 'passed');
  process.exit(result);
}
