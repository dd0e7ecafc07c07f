'use strict';
// lines.js: what the test tells a driver and what the driver answers, as JSON, one object a line.
const net = require('net');
const readline = require('readline');

// The SDKs insist on port 443 for WebSocket and REST, and on 5671 with certificates. PORTS ("443=40001,5671=40002") says where those are on
// this machine, as a redirection in the network would: nothing of the SDKs is touched.
const ports = new Map((process.env.PORTS || '').split(',').map((pair) => pair.split('=').map(Number)));
const connect = net.Socket.prototype.connect;
net.Socket.prototype.connect = function (...args) {
  const target = Array.isArray(args[0]) ? args[0][0] : args[0];
  if (target && ports.has(Number(target.port))) target.port = ports.get(Number(target.port));
  return connect.apply(this, args);
};

const say = (event, fields) => process.stdout.write(JSON.stringify({ event, ...fields }) + '\n');
const failed = (what, err) => say('failed', { what, name: err.name, text: err.message });

// serve calls the handler that an order names, one after the other, and says so when one fails. The end of the input ends the process.
function serve(handlers) {
  let last = Promise.resolve();
  readline.createInterface({ input: process.stdin }).on('line', (line) => {
    const order = JSON.parse(line);
    last = last.then(() => handlers[order.do](order)).catch((err) => failed(order.do, err));
  }).on('close', () => process.exit(0));
  process.on('uncaughtException', (err) => failed('uncaught', err));
  say('ready');
}

module.exports = { say, failed, serve };
