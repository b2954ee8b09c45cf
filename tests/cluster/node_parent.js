'use strict';
// The other way of Node.js to have several processes: a parent accepts, and sends sockets to children
// that it has forked, as the documents of child_process show. server.getConnections() then asks all
// of them. It is told what to do like node_cluster.js.

const { fork } = require('child_process');
const net = require('net');

// --- a child ----------------------------------------------------------------------------------

function work() {
	process.on('message', (word, socket) => {
		if (!socket)
			return;
		socket.on('error', () => socket.destroy());
		socket.pipe(socket);
		socket.resume();
	});
}

// --- the parent -------------------------------------------------------------------------------

const children = [];
const servers = new Map();
let turn = 0;

function listen({ name, port, host }) {
	const server = net.createServer({ pauseOnConnect: true });

	servers.set(name, server);
	server.on('connection', (socket) => children[turn++ % children.length].send('take', socket));
	return new Promise((resolve) => {
		server.listen(port, host, () => resolve([name, server.address()]));
	});
}

const verbs = {
	start: async ({ options }, reply) => {
		for (let i = 0; i < options.workers; i++)
			children.push(fork(__filename, ['child']));
		const pairs = await Promise.all(options.servers.map(listen));

		reply({ addresses: Object.fromEntries(pairs), errors: [] });
	},
	workers: (word, reply) => reply({
		pids: children.filter((child) => child.exitCode === null && child.signalCode === null)
			.map((child) => child.pid),
	}),
	count: ({ name }, reply) => servers.get(name).getConnections((error, total) => {
		reply(error ? { error: error.message } : { total });
	}),
};

if (process.argv[2] === 'child') {
	work();
} else {
	process.on('message', (word) => verbs[word.verb](word, (answer) =>
		process.send({ id: word.id, ...answer })));
	process.on('disconnect', () => {
		children.forEach((child) => child.kill('SIGKILL'));
		process.exit();
	});
}
