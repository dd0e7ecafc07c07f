'use strict';
// node.js: a device on Microsoft's SDK that sends as fast as it can.   node node.js CONFIG
// CONFIG: {address: "localhost:port", ca: PEM file, key: base64, messages, depth, body}
const fs = require('fs');
const { Client, Message } = require('azure-iot-device');
const { Amqp } = require('azure-iot-device-amqp');

const config = JSON.parse(process.argv[2]);
const client = Client.fromConnectionString(`HostName=localhost;DeviceId=bench;SharedAccessKey=${config.key};GatewayHostName=${config.address}`, Amqp);

// all keeps depth messages under way until the last is accepted.
function all(n, depth) {
  return new Promise((resolve, reject) => {
    let sent = 0;
    let accepted = 0;
    const next = () => {
      if (sent === n) return;
      sent++;
      client.sendEvent(new Message(config.body), (err) => {
        if (err) return reject(err);
        if (++accepted === n) return resolve();
        next();
      });
    };
    for (let i = 0; i < depth; i++) next();
  });
}

async function main() {
  await client.setOptions({ ca: fs.readFileSync(config.ca, 'utf8') });
  await client.open();
  await all(1, 1); // the link is attached by the first message
  const cpu = process.cpuUsage();
  const start = process.hrtime.bigint();
  await all(config.messages, config.depth);
  const elapsed = process.hrtime.bigint() - start;
  const used = process.cpuUsage(cpu);
  console.log(JSON.stringify({
    elapsed_ns: Number(elapsed),
    cpu_ns: (used.user + used.system) * 1000,
    peak_rss: process.resourceUsage().maxRSS * 1024,
  }));
  await client.close();
}

main().then(() => process.exit(0), (err) => {
  console.error(err);
  process.exit(1);
});
