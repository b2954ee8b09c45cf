// What a Node.js user would run: cluster workers with an echo server, or a proxy by pipe().
//
//   node.js rr|none WORKERS PORT|PATH [PROXY-TO-PORT]
//
// rr: the primary accepts and hands out by turns; none: the workers share the listening handle.
'use strict';

const cluster = require('cluster');
const net = require('net');

const [policy, workers, address, to] = process.argv.slice(2);

function echo(socket) {
	socket.on('data', (data) => {
		if (!socket.write(data)) {
			socket.pause();
			socket.once('drain', () => socket.resume());
		}
	});
	socket.on('error', () => socket.destroy());
}

function proxy(socket) {
	const upstream = net.connect(Number(to), '127.0.0.1');
	upstream.on('error', () => socket.destroy());
	socket.on('error', () => upstream.destroy());
	socket.pipe(upstream);
	upstream.pipe(socket);
}

if (cluster.isPrimary) {
	let listening = 0;
	cluster.on('listening', () => {
		if (++listening === Number(workers))
			console.log('ready');
	});
	cluster.schedulingPolicy = policy === 'rr' ? cluster.SCHED_RR : cluster.SCHED_NONE;
	for (let i = 0; i < Number(workers); i++)
		cluster.fork();
} else {
	const server = net.createServer(to ? proxy : echo);
	if (address.startsWith('/'))
		server.listen(address);
	else
		server.listen(Number(address), '127.0.0.1');
}
