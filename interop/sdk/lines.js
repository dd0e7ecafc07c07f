'use strict';
// lines.js: what the test tells a driver and what the driver answers, as JSON, one object a line.
const net = require('net');
const readline = require('readline');

// The SDKs insist on port 443 for WebSocket and REST. HTTPS_PORT says where it is on this machine, as a redirection in the network would.
const connect = net.Socket.prototype.connect;
net.Socket.prototype.connect = function (...args) {
  const target = Array.isArray(args[0]) ? args[0][0] : args[0];
  if (process.env.HTTPS_PORT && target && Number(target.port) === 443) target.port = Number(process.env.HTTPS_PORT);
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
