'use strict';
// device.js: a device on Microsoft's SDK.   node device.js CONFIG
// CONFIG: a JSON file {connection, transport: "amqp"|"amqp-ws", ca, cert, key (PEM files), tokenSeconds, renewBefore}
const fs = require('fs');
const { Client, Message } = require('azure-iot-device');
const { Amqp, AmqpWs } = require('azure-iot-device-amqp');
const { say, failed, serve } = require('./lines');

const config = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const client = Client.fromConnectionString(config.connection, config.transport === 'amqp-ws' ? AmqpWs : Amqp);
const commands = new Map();
let twin;

const file = (name) => fs.readFileSync(name, 'utf8');
const options = { ca: file(config.ca) };
if (config.cert) Object.assign(options, { cert: file(config.cert), key: file(config.key) });
if (config.tokenSeconds) options.tokenRenewal = { tokenValidTimeInSeconds: config.tokenSeconds, tokenRenewalMarginInSeconds: config.renewBefore };
client.on('connect', () => say('connect'));
client.on('disconnect', () => say('disconnect'));
client.on('error', (err) => failed('client', err));

const properties = (message) => Object.fromEntries(message.properties.propertyList.map(({ key, value }) => [key, value]));

function message({ body, base64, properties: all, security, ...fields }) {
  const m = new Message(base64 ? Buffer.from(base64, 'base64') : body);
  for (const [key, value] of Object.entries(all || {})) m.properties.add(key, value);
  if (security) m.setAsSecurityMessage();
  return Object.assign(m, fields);
}

serve({
  async options() {
    await client.setOptions(options);
    say('options');
  },
  async open() {
    await client.open();
    say('open');
  },
  async send(order) {
    await client.sendEvent(message(order.message));
    say('sent', { id: order.message.messageId });
  },
  receive() {
    client.on('message', (m) => {
      commands.set(m.messageId, m);
      say('command', { id: m.messageId, correlation: m.correlationId, body: m.data.toString(), properties: properties(m), ack: m.ack, to: m.to, expiry: m.expiryTimeUtc });
    });
    say('receive');
  },
  // settle answers commands without waiting in between; each answer gets a tick of its own, because the AMQP library under the SDK merges those of one.
  async settle({ answers }) {
    const all = [];
    for (const [id, how] of answers) {
      all.push(client[how](commands.get(id)));
      await new Promise(setImmediate);
    }
    await Promise.all(all);
    say('settled');
  },
  async twin() {
    twin = await client.getTwin();
    say('twin', { properties: twin.properties });
  },
  watch() {
    twin.on('properties.desired', (delta) => say('desired', { properties: delta }));
  },
  report({ patch }) {
    return new Promise((resolve, reject) => twin.properties.reported.update(patch, (err) => (err ? reject(err) : resolve(say('reported')))));
  },
  method({ name, status, payload }) {
    client.onDeviceMethod(name, (request, response) => {
      say('called', { name: request.methodName, payload: request.payload });
      response.send(status, payload, (err) => (err ? failed('answer', err) : say('answered')));
    });
    say('method', { name });
  },
  async close() {
    await client.close();
    say('closed');
  },
});
