'use strict';
// A cluster of Node.js whose workers listen when they are told to: what tests/helpers/fake_listener.c
// is to usherd. It is told what to do like node_cluster.js.

const cluster = require('cluster');
const dns = require('dns');
const net = require('net');

// --- a worker ---------------------------------------------------------------------------------

const servers = new Map();

function serverOf(name, tell) {
	const server = net.createServer((socket) => {
		socket.on('error', () => socket.destroy());
		socket.resume();
		socket.write('hello');
	});

	server.on('error', (error) => tell({ error: error.message }));
	server.on('listening', () => tell({ address: server.address() }));
	servers.set(name, server);
	return server;
}

function work() {
	process.on('message', ({ id, what, name, listen }) => {
		const tell = (answer) => process.send({ id, ...answer });

		if (what === 'listen')
			serverOf(name, tell).listen(listen);
		else
			servers.get(name).close(() => tell({}));
	});
}

// --- the primary ------------------------------------------------------------------------------

const replies = new Map();
let lookedUp;
const binding = new Promise((resolve) => { lookedUp = resolve; });

// The primary takes its time to find an address.
function slowDown(ms) {
	const original = dns.lookup;

	dns.lookup = (...args) => {
		lookedUp();
		setTimeout(original, ms, ...args);
	};
}

const live = () => Object.values(cluster.workers);

const verbs = {
	start: ({ options }, reply) => {
		if (options.slowLookupMs)
			slowDown(options.slowLookupMs);
		for (let i = 0; i < options.workers; i++)
			cluster.fork();
		const awaitAll = () => {
			if (live().every((worker) => worker.state === 'online'))
				reply({ errors: [] });
		};

		cluster.on('online', awaitAll);
	},
	workers: (word, reply) => reply({ pids: live().map((worker) => worker.process.pid) }),
	untilBinding: (word, reply) => { binding.then(() => reply({})); },
	tell: ({ id, worker, ...order }, reply) => {
		replies.set(id, reply);
		live()[worker].send({ id, ...order });
	},
};

function supervise() {
	cluster.on('message', (worker, { id, ...answer }) => {
		const reply = replies.get(id);

		replies.delete(id);
		if (reply)
			reply(answer);
	});
	process.on('message', (word) => verbs[word.verb](word, (answer) =>
		process.send({ id: word.id, ...answer })));
	process.on('disconnect', () => {
		live().forEach((worker) => worker.process.kill('SIGKILL'));
		process.exit();
	});
}

if (cluster.isPrimary)
	supervise();
else
	work();
