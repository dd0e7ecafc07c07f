'use strict';
// service.js: the cloud side on Microsoft's SDK.   node service.js CONFIG
// CONFIG: a JSON file {amqp, https (connection strings), transport: "amqp"|"amqp-ws"}. The authority is in NODE_EXTRA_CA_CERTS, as the SDK has no option for it.
const fs = require('fs');
const { Client, Registry, Amqp, AmqpWs } = require('azure-iothub');
const { Message } = require('azure-iot-common');
const { say, failed, serve } = require('./lines');

const config = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const client = Client.fromConnectionString(config.amqp, config.transport === 'amqp-ws' ? AmqpWs : Amqp);
const registry = () => Registry.fromConnectionString(config.https);
const rest = () => Client.fromConnectionString(config.https);
client.on('disconnect', () => say('disconnect'));

serve({
  async open() {
    await client.open();
    say('open');
  },
  async send({ device, message: { body, properties, ...fields } }) {
    const m = Object.assign(new Message(body), fields);
    for (const [key, value] of Object.entries(properties || {})) m.properties.add(key, value);
    await client.send(device, m);
    say('sent', { id: fields.messageId });
  },
  async feedback() {
    const got = await client.getFeedbackReceiver();
    const receiver = got.result || got;
    receiver.on('errorReceived', (err) => failed('feedback', err));
    receiver.on('message', (m) => {
      for (const r of JSON.parse(m.data.toString())) say('feedback', { id: r.originalMessageId, code: r.statusCode, device: r.deviceId, record: r });
      receiver.complete(m, (err) => (err ? failed('complete', err) : say('completed')));
    });
    say('watching');
  },
  async call({ device, name, payload, seconds }) {
    const { result } = await rest().invokeDeviceMethod(device, { methodName: name, payload, responseTimeoutInSeconds: seconds || 30, connectTimeoutInSeconds: 0 });
    say('answer', { status: result.status, payload: result.payload });
  },
  // registry calls a method of the registry client: create, get, update, delete, list, getTwin, updateTwin, …
  async registry({ call, args = [] }) {
    const { responseBody } = await registry()[call](...args);
    say('registry', { result: responseBody });
  },
  async close() {
    await client.close();
    say('closed');
  },
});
