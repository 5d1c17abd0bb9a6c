// Submits a job description to actd, waits by events, lists the results. npm install vscode-jsonrpc; Content-Length framing.
// With `--stdio` it talks to the daemon through `actctl rpc --stdio`, which also starts it.
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const rpc = require('vscode-jsonrpc/node');

const stdio = process.argv.includes('--stdio');
const file = path.resolve(process.argv.filter((a) => a !== '--stdio')[2]);

function connect() {
  if (stdio) {
    const child = spawn('actctl', ['rpc', '--stdio'], { stdio: ['pipe', 'pipe', 'inherit'] });
    return rpc.createMessageConnection(new rpc.StreamMessageReader(child.stdout), new rpc.StreamMessageWriter(child.stdin));
  }
  const runtime = process.env.XDG_RUNTIME_DIR ? `${process.env.XDG_RUNTIME_DIR}/actd` : `/tmp/actd-${process.getuid()}`;
  const socket = net.connect(`${runtime}/default.sock`);
  return rpc.createMessageConnection(new rpc.SocketMessageReader(socket), new rpc.SocketMessageWriter(socket));
}

const ended = (job) =>
  ['stored', 'closed'].includes(job.phase) || ['failed', 'donefailed', 'cancelled', 'lost'].includes(job.arcstate);

async function main() {
  const actd = connect();
  const seen = [];
  let news = () => {};
  actd.onNotification('events.event', ({ result }) => {
    seen.push(result);
    news();
  });
  actd.onClose(() => process.exit(process.exitCode ?? 2));
  actd.listen();
  await actd.sendRequest('daemon.hello', { client: 'jobs.js', protocol: 1 });
  // Before the submission, so that no event is missed.
  const subscription = await actd.sendRequest('events.subscribe', { types: ['job'] });
  const reply = await actd.sendRequest('jobs.submit', {
    descriptions: [{ text: fs.readFileSync(file, 'utf8'), path: file, base_dir: path.dirname(file) }],
    client_ref: `${process.pid}-${Date.now()}`,
  });
  for (const item of reply.items) if (item.error) throw new Error(`not submitted: ${item.error}`);
  const keys = reply.items.map((item) => item.key);
  const waiting = new Set(keys);
  while (waiting.size > 0) {
    while (seen.length === 0) await new Promise((go) => (news = go));
    const event = seen.shift();
    if (event.type === 'end') throw new Error(event.text);
    if (event.after && ended(event.after)) waiting.delete(event.key);
  }
  await actd.sendRequest('events.unsubscribe', { subscription });
  const jobs = await actd.sendRequest('jobs.list', { filter: { select: keys }, closed: true });
  for (const job of jobs.items) {
    console.log(job.key, job.name, job.arcstate);
    if (!job.results) continue;
    const { files } = await actd.sendRequest('jobs.files', { job: job.key });
    for (const entry of files) console.log(`  ${entry.path} ${entry.size}`);
  }
  process.exitCode = jobs.items.every((job) => job.arcstate === 'done') ? 0 : 1;
  actd.end();
}

main().catch((error) => {
  console.error(error.message, error.data?.hint ?? '');
  process.exit(1);
});
