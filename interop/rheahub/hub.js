'use strict';
// hub.js: a small IoT Hub on rhea, another implementation of AMQP 1.0 than ours on both sides. It is a second opinion on what iotagent and
// hubctl say on the wire: only what they use is here, and what they should not do is complained about.
//
//   node hub.js CONFIG      CONFIG: JSON {hostname, key, cert, devices: {id: key}, policies: {name: key}, at: {…}, poison: [text, condition, description]}
//
// It says what happens as JSON, one object a line, on standard output, and takes orders as JSON, one a line, on standard input:
//   {"drop":true}  {"close":[condition,text]}  {"detach":[address,condition,text]}  {"settle":true}  {"at":{…}}  {"command":{device,id,body,properties,expires}}
// `at` tells what to do with the delivery that the N-th telemetry message comes in (a batch is one delivery of several), each field optional:
//   {"120":{"outcome":"accept"|"lose"|"release"|"modify"|["reject",condition,text], "hold":true, "then":"drop"|["close",…]|["detach",…]}}
// "lose" stores the message and never says so; "hold" keeps this and every later settlement back until the order "settle" or the connection's end.
const crypto = require('crypto');
const fs = require('fs');
const readline = require('readline');
const rhea = require('rhea');

const config = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const { types } = rhea;
const batchFormat = 0x80013700; // IoT Hub's own message format: each data section is a whole message
let faults = config.at || {};
let messages = 0;
let sequence = 0;
let connections = 0;
const live = new Set(); // peers: one for each connection
const devices = new Map(Object.keys(config.devices).map((id) => [id, { id, queue: [], link: null, unsettled: new Map() }]));
const feedback = { queue: [], link: null, unsettled: new Map() };

const say = (event, fields) => process.stdout.write(JSON.stringify({ event, ...fields }) + '\n');
const complain = (text) => say('complaint', { text });
const error = ([condition, description]) => ({ condition, description: description || condition });
const addressOf = (terminus) => (terminus && terminus.address) || '';
const textOf = (body) => {
  const content = body && body.content !== undefined ? body.content : body;
  return content === undefined || content === null ? '' : [].concat(content).map((c) => c.toString('utf8')).join('');
};

// judge checks a token as "Control access to IoT Hub with shared access signatures" describes it.
function judge(text) {
  const prefix = 'SharedAccessSignature ';
  if (typeof text !== 'string' || !text.startsWith(prefix)) return { status: 400, text: 'not a SharedAccessSignature' };
  const field = {};
  for (const part of text.slice(prefix.length).split('&')) {
    const i = part.indexOf('=');
    field[part.slice(0, i)] = part.slice(i + 1);
  }
  if (!field.sr || !field.sig || !/^\d+$/.test(field.se)) return { status: 400, text: 'sr, sig or se is missing' };
  const resource = decodeURIComponent(field.sr);
  const device = /^([^/]+)\/devices\/([^/]+)$/.exec(resource);
  const key = field.skn ? config.policies[field.skn] : device && config.devices[device[2]];
  if ((device ? device[1] : resource) !== config.hostname || !key) return { status: 401, text: `${resource} is not known here` };
  const want = crypto.createHmac('sha256', Buffer.from(key, 'base64')).update(`${field.sr}\n${field.se}`).digest('base64');
  if (decodeURIComponent(field.sig) !== want) return { status: 401, text: 'The specified SAS token has an invalid signature.' };
  if (Number(field.se) * 1000 < Date.now()) return { status: 401, text: 'The specified SAS token is expired' };
  return { status: 200, text: 'OK', resource };
}

// settle writes outcomes in their order. rhea merges what is written in one tick without comparing it, so all but accepted go alone.
function settle(peer, delivery, outcome) {
  peer.outcomes.push([delivery, outcome]);
  if (peer.outcomes.length === 1) setImmediate(write, peer);
}
function write(peer) {
  let next = peer.outcomes.shift();
  if (peer.gone || !next) return;
  if (next[1] === 'release') next[0].release();
  else if (next[1] === 'modify') next[0].modified({ delivery_failed: true });
  else if (next[1] !== 'accept') next[0].reject(error(next[1].slice(1)));
  else for (; next; next = peer.outcomes[0] && peer.outcomes[0][1] === 'accept' && peer.outcomes.shift()) next[0].accept();
  if (peer.outcomes.length > 0) setImmediate(write, peer);
}

// pump sends what is queued, as far as the link has credit: rhea would hold up every other link of the session otherwise.
function pump(node, prepare) {
  if (!node.link || node.pumping) return;
  node.pumping = true;
  setImmediate(() => {
    node.pumping = false;
    for (let credit = node.link ? node.link.credit : 0; credit > 0 && node.queue.length > 0; credit--) {
      const item = node.queue.shift();
      const delivery = node.link.send(prepare(item), crypto.randomBytes(16));
      node.unsettled.set(delivery, item);
    }
  });
}

// unlink puts what was delivered and not settled back to the front.
function unlink(node, link) {
  if (node.link !== link) return;
  node.link = null;
  node.queue.unshift(...node.unsettled.values());
  node.unsettled.clear();
}

function commandMessage(item) {
  item.count++;
  return {
    ...item.message,
    message_annotations: {
      'x-opt-sequence-number': types.wrap_ulong(item.sequence), 'iothub-enqueuedtime': types.wrap_timestamp(item.enqueued), 'iothub-deliverycount': types.wrap_ubyte(item.count - 1),
    },
  };
}
const pumpCommands = (device) => pump(device, commandMessage);
const pumpFeedback = () => pump(feedback, (record) => ({
  content_type: 'application/vnd.microsoft.iothub.feedback.json', user_id: Buffer.from(config.hostname), message_annotations: { 'iothub-enqueuedtime': types.wrap_timestamp(Date.now()) },
  body: rhea.message.data_section(Buffer.from(JSON.stringify([record]))),
}));

function enqueue(device, message) {
  device.queue.push({ message, sequence: ++sequence, enqueued: Date.now(), count: 0 });
  pumpCommands(device);
}

// commandSettled takes the device's answer to a command.
function commandSettled(outcome, { sender, delivery }) {
  const device = devices.get(sender.device);
  const item = device && device.unsettled.get(delivery);
  if (!item || !device.unsettled.delete(delivery)) return;
  const reason = delivery.remote_state.error || {};
  say('command', { id: item.message.message_id, outcome, settled: delivery.remote_settled, condition: reason.condition, reason: reason.description, count: item.count });
  if (outcome === 'released' || outcome === 'modified') {
    device.queue.unshift(item);
    return pumpCommands(device);
  }
  const code = outcome === 'accepted' ? 'Success' : 'Rejected';
  const ack = (item.message.application_properties || {})['iothub-ack'];
  if (ack !== 'full' && ack !== (code === 'Success' ? 'positive' : 'negative')) return;
  feedback.queue.push({
    originalMessageId: item.message.message_id, enqueuedTimeUtc: new Date().toISOString(), statusCode: code, description: code, deviceId: device.id, deviceGenerationId: '1',
  });
  pumpFeedback();
}

function telemetry(peer, { receiver, message, delivery, format }) {
  const inner = format === undefined ? [message] : [].concat(rhea.message.decode(message).body.content).map((b) => rhea.message.decode(b));
  if (format !== undefined && format !== batchFormat) complain(`message format ${format}`);
  const first = messages + 1;
  messages += inner.length;
  const fault = Object.assign({}, ...inner.map((_, i) => faults[first + i]));
  const bad = config.poison && inner.some((m) => textOf(m.body).includes(config.poison[0]));
  const outcome = bad ? ['reject', ...config.poison.slice(1)] : fault.outcome || 'accept';
  for (const [i, m] of inner.entries()) {
    say('telemetry', {
      nth: first + i, device: receiver.device, batch: inner.length, outcome: [].concat(outcome)[0], id: m.message_id, correlation: m.correlation_id, contentType: m.content_type, contentEncoding: m.content_encoding,
      properties: m.application_properties || {}, body: textOf(m.body),
    });
  }
  if (delivery.remote_settled) complain(`delivery of message ${first} was sent settled, so its loss would go unseen`);
  if (fault.hold) peer.held = peer.held || [];
  if (outcome === 'lose') delivery.settled = true; // to rhea it is done, and nothing is written
  else if (peer.held) peer.held.push([delivery, outcome]);
  else settle(peer, delivery, outcome);
  if (fault.then) setImmediate(disturb, peer, receiver, [].concat(fault.then));
}

function disturb(peer, link, [what, ...why]) {
  say('disturb', { what, why });
  if (what === 'drop') peer.connection.socket.destroy();
  if (what === 'close') peer.connection.close(error(why));
  if (what === 'detach') {
    link.cut = true; // what is still on its way to it is nobody's
    link.close(error(why));
  }
}

function putToken(peer, { message, delivery }) {
  delivery.accept();
  const p = message.application_properties || {};
  const token = textOf(message.body);
  const verdict = judge(token);
  if (p.operation !== 'put-token' || p.type !== 'servicebus.windows.net:sastoken') complain(`put-token with ${JSON.stringify(p)}`);
  if (verdict.resource && decodeURIComponent(String(p.name)) !== verdict.resource) complain(`put-token's name ${p.name} is not the token's resource`);
  if (message.message_id === undefined) complain('put-token without a message-id');
  if (message.body && message.body.typecode !== 0x77 && typeof message.body !== 'string') complain('put-token whose body is not a value');
  say('token', { status: verdict.status, resource: verdict.resource, text: verdict.text, n: peer.n });
  if (verdict.resource) peer.claims.add(verdict.resource);
  peer.cbs.queue.push({
    correlation_id: message.message_id, application_properties: { 'status-code': types.wrap_int(verdict.status), 'status-description': verdict.text },
  });
  pump(peer.cbs, (reply) => reply);
}

// commandFrom takes a command from a service.
function commandFrom(peer, { message, delivery }) {
  const to = /^\/devices\/([^/]+)\/messages\/devicebound$/i.exec(message.to || '');
  const device = to && devices.get(decodeURIComponent(to[1]));
  say('enqueued', { id: message.message_id, to: message.to, known: Boolean(device) });
  settle(peer, delivery, device ? 'accept' : ['reject', 'amqp:not-found', '{"errorCode":404001,"message":"Device not registered"}']);
  if (device) enqueue(device, { ...message, to: message.to });
}

// nodes are the addresses: which way the link goes, what token it needs, and what is done with it.
function nodeFor(address, isReceiver) {
  const rest = address.replace(/^amqps:\/\/[^/]+/, '').replace(/^\//, '');
  const path = rest.toLowerCase();
  const device = /^devices\/([^/]+)\//i.exec(rest);
  const id = device && decodeURIComponent(device[1]);
  if (path === '$cbs') return { name: 'cbs', needs: null };
  if (id && isReceiver && /\/messages\/events\/?$/.test(path)) return { name: 'telemetry', needs: `${config.hostname}/devices/${id}`, device: id };
  if (id && !isReceiver && /\/messages\/devicebound$/.test(path)) return { name: 'commands', needs: `${config.hostname}/devices/${id}`, device: id };
  if (isReceiver && path === 'messages/devicebound') return { name: 'send', needs: config.hostname };
  if (!isReceiver && path === 'messages/servicebound/feedback') return { name: 'feedback', needs: config.hostname };
  return null;
}

function opened({ connection, receiver, sender }) {
  const link = receiver || sender;
  const address = addressOf(receiver ? receiver.target : sender.source);
  const node = nodeFor(address, Boolean(receiver));
  const peer = connection.peer;
  if (!node) return link.close(error(['amqp:not-found', `no node ${address}`]));
  if (node.needs && !peer.claims.has(node.needs)) return link.close(error(['amqp:unauthorized-access', `no token for ${node.needs}`]));
  Object.assign(link, { node: node.name, device: node.device, address });
  (receiver ? receiver.set_target : sender.set_source).call(link, { address });
  if (node.name === 'cbs' && sender) peer.cbs.link = sender;
  if (node.name === 'feedback') feedback.link = sender;
  if (node.name === 'commands') devices.get(node.device).link = sender;
  say('link', { node: node.name, address, n: peer.n });
}

function gone(peer) {
  peer.gone = true;
  live.delete(peer);
  unlink(feedback, feedback.link && feedback.link.connection === peer.connection ? feedback.link : undefined);
  for (const d of devices.values()) if (d.link && d.link.connection === peer.connection) unlink(d, d.link);
  say('gone', { n: peer.n });
}

const hub = rhea.create_container({ id: 'rheahub', autoaccept: false, treat_modified_as_released: false, credit_window: 200, max_message_size: 1 << 20 });
hub.sasl_server_mechanisms.enable_anonymous();
hub.sasl_server_mechanisms.enable_plain((user, password) => {
  const verdict = judge(password);
  say('plain', { user, status: verdict.status, text: verdict.text });
  return verdict.status === 200;
});
hub.on('connection_open', ({ connection }) => {
  const peer = { n: ++connections, connection, claims: new Set(), outcomes: [], held: null, cbs: { queue: [], unsettled: new Map(), link: null } };
  connection.peer = peer;
  const plain = (connection.sasl_transport.selected || {}).username || '';
  const service = /^.+@sas\.root\.(.+)$/.exec(plain);
  const device = /^(.+)@sas\.(.+)$/.exec(plain);
  if (service) peer.claims.add(config.hostname);
  else if (device) peer.claims.add(`${config.hostname}/devices/${decodeURIComponent(device[1])}`);
  live.add(peer);
  connection.socket.on('close', () => gone(peer));
  say('connected', { n: peer.n, hostname: connection.hostname, container: connection.container_id, user: plain, idle: connection.idle_time_out });
});
hub.on('receiver_open', opened);
hub.on('sender_open', opened);
hub.on('sendable', ({ sender, connection }) => {
  if (sender.node === 'cbs') pump(connection.peer.cbs, (reply) => reply);
  if (sender.node === 'commands') pumpCommands(devices.get(sender.device));
  if (sender.node === 'feedback') pumpFeedback();
});
hub.on('message', (ctx) => {
  const peer = ctx.connection.peer;
  if (ctx.receiver.cut) return void (ctx.delivery.settled = true);
  ({ cbs: putToken, telemetry, send: commandFrom })[ctx.receiver.node](peer, ctx);
});
for (const outcome of ['accepted', 'rejected', 'released', 'modified']) hub.on(outcome, (ctx) => ctx.sender.node === 'commands' && commandSettled(outcome, ctx));
hub.on('settled', ({ sender, delivery }) => {
  if (sender.node !== 'feedback' || !feedback.unsettled.has(delivery)) return;
  const record = feedback.unsettled.get(delivery);
  feedback.unsettled.delete(delivery);
  const outcome = delivery.remote_state ? delivery.remote_state.constructor.composite_type : 'none';
  say('feedback', { id: record.originalMessageId, code: record.statusCode, outcome });
  if (outcome === 'released') feedback.queue.unshift(record);
});
hub.on('sender_close', ({ sender }) => {
  if (sender.node === 'commands') unlink(devices.get(sender.device), sender);
  if (sender.node === 'feedback') unlink(feedback, sender);
});
for (const end of ['connection_close', 'connection_error', 'session_close', 'session_error', 'receiver_close', 'receiver_error', 'sender_error', 'disconnected']) {
  hub.on(end, ({ error: why }) => why && why.condition && complain(`${end}: ${why.condition}: ${why.description}`));
}
hub.on('error', (err) => complain(`error: ${err.stack || err}`));
hub.on('protocol_error', (err) => complain(`protocol error: ${err}`));

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const order = JSON.parse(line);
  if (order.at) faults = order.at;
  if (order.command) {
    const { device, id, body, properties, expires } = order.command;
    enqueue(devices.get(device), { message_id: id, absolute_expiry_time: expires, application_properties: properties, body: rhea.message.data_section(Buffer.from(body || '')) });
  }
  for (const peer of live) {
    if (order.drop) disturb(peer, null, ['drop']);
    if (order.close) disturb(peer, null, ['close', ...order.close]);
    if (order.detach) peer.connection.each_link((link) => link.address === order.detach[0] && disturb(peer, link, ['detach', ...order.detach.slice(1)]));
    if (order.settle && peer.held) {
      const held = peer.held;
      peer.held = null;
      for (const [delivery, outcome] of held) settle(peer, delivery, outcome);
    }
  }
}).on('close', () => process.exit(0));

const server = hub.listen({
  transport: 'tls', host: '127.0.0.1', port: 0, key: fs.readFileSync(config.key), cert: fs.readFileSync(config.cert), idle_time_out: 240000, tcp_no_delay: true,
});
server.on('listening', () => say('listening', { port: server.address().port }));
server.on('tlsClientError', (err) => complain(`tls: ${err.message}`));
