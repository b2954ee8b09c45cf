'use strict';
// What tests/cluster/net_words.c does, in Node.js: net_words.js BUSY-PORT

const net = require('net');

const server = net.createServer();
const close = () => server.close(() => {});

server.on('close', () => console.log('close'));
server.on('error', () => {
	console.log('error');
	server.close();
	server.listen(0, '127.0.0.1');
});
server.on('listening', () => {
	console.log('listening');
	close();
	close();
});
server.listen(Number(process.argv[2]), '127.0.0.1');
