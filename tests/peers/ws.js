// A WebSocket client that we did not write, over the Unix socket: calls, an unknown method, a batch, events.
const WebSocket = require('ws');

const ws = new WebSocket(`ws+unix:${process.argv[2]}:/rpc`);
const waiting = new Map();
const events = [];
let news = () => {};
ws.on('message', (data) => {
  const message = JSON.parse(data);
  if (Array.isArray(message)) return waiting.get('batch')(message);
  if (message.method === 'events.event') {
    events.push(message.params.result);
    return news();
  }
  waiting.get(message.id)(message);
});
const send = (value, id) => new Promise((done) => (waiting.set(id, done), ws.send(JSON.stringify(value))));
const call = (id, method, params) => send({ jsonrpc: '2.0', id, method, params }, id);

ws.on('open', async () => {
  const hello = await call('a', 'daemon.hello', { client: 'ws', protocol: 1 });
  const unknown = await call(-2, 'jobs.lst');
  const batch = await send([{ jsonrpc: '2.0', id: 1, method: 'proxy.status' }, { jsonrpc: '2.0', method: 'proxy.status' }], 'batch');
  const subscribed = await call(3, 'events.subscribe', { since: 0, types: ['credential'] });
  while (events.length === 0) await new Promise((go) => (news = go));
  console.log(JSON.stringify({
    protocol: hello.result.protocol,
    kind: unknown.error.data.kind,
    hint: unknown.error.data.hint,
    batch: batch.length,
    subscribed: typeof subscribed.result,
    event: events[0].type,
  }));
  ws.close();
});
