#include "tests/helpers/play.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/fdpass.h"
#include "common/macros.h"
#include "common/net/bind.h"
#include "tests/helpers/clients.h"
#include "tests/helpers/fds.h"
#include "tests/helpers/wait.h"

void play_say(struct play *p, enum ipc_type type, const void *body, const void *tail,
	      size_t tail_count, const int *fds)
{
	int size = ipc_encode(type, body, tail, tail_count, p->packet);
	struct iovec part = {p->packet, (size_t)size};

	assert_int_equal(fdpass_send(p->channel, &part, 1, fds, ipc_fd_count(type, tail_count)),
			 size);
}

static void send_claims(struct play *p)
{
	AUTO_CLOSE int fd = -1;

	assert_int_equal(claims_new(&p->claims, &fd), 0);
	play_say(p, IPC_CLAIMS, NULL, NULL, 0, &fd);
}

int play_setup(void **state)
{
	const struct bind_options options = {.has_port = true, .host = "127.0.0.1"};
	struct play *p = calloc(1, sizeof(*p));
	const char *which;
	struct bound bound;
	int pair[2];

	assert_non_null(p);
	p->fds = open_fd_count();
	p->loop = ev_loop_new(EVFLAG_AUTO);
	assert_int_equal(channel_pair(pair), 0);
	p->channel = pair[0];
	p->next = 1;
	p->copy = -1;
	assert_int_equal(worker_init(&p->worker, p->loop, pair[1]), 0);
	send_claims(p);
	assert_int_equal(bind_open(&options, &bound, &which), 0);
	p->listening = bound.fd;
	p->port = addr_port(&bound.addr);
	*state = p;
	return 0;
}

void play_run_ready(struct play *p)
{
	for (int i = 0; i < 20; i++)
		ev_run(p->loop, EVRUN_NOWAIT);
}

/* Until there is something for the client, and what is ready then. */
void play_run_until_heard(struct play *p, int client)
{
	do
		play_run_ready(p);
	while (!wait_readable(client, 1));
	play_run_ready(p);
}

int play_teardown(void **state)
{
	struct play *p = *state;

	worker_done(&p->worker);
	play_run_ready(p);
	close_fd(p->channel);
	close_fd(p->listening);
	close_fd(p->copy);
	claims_close(&p->claims);
	ev_loop_destroy(p->loop);
	bool leaked = open_fd_count() != p->fds;
	free(p);
	return leaked ? -1 : 0;
}

/* The next message of a type; others before it are dropped. Returns whether there was one. */
bool play_hear(struct play *p, enum ipc_type type, struct ipc_message *ret)
{
	const char *why;
	size_t n_fds;
	ssize_t size;

	while ((size = fdpass_recv(p->channel, p->packet, sizeof(p->packet), NULL, 0, &n_fds)) >
	       0) {
		assert_int_equal(ipc_decode(IPC_WORKER, p->packet, (size_t)size, 0, ret, &why), 0);
		if (ret->type == type)
			return true;
	}
	return false;
}

void play_announce(struct play *p, enum handler_kind handler, bool tell)
{
	const struct ipc_adopt adopt = {
		.listener = PLAY_LISTENER,
		.handler = handler,
		.name_size = 2,
		.tally = PLAY_TALLY,
		.tell_connections = tell,
	};
	const char text[] = "ithello";

	play_say(p, IPC_ADOPT, &adopt, text, handler == HANDLER_REPLY ? 7 : 2, NULL);
	play_run_ready(p);
}

void play_serve(struct play *p, uint32_t handle, bool shared)
{
	const struct ipc_serve body = {.listener = PLAY_LISTENER,
				       .handle = handle,
				       .handler = HANDLER_ECHO,
				       .name_size = 2,
				       .shared = shared};

	play_say(p, IPC_SERVE, &body, "it", 2, &p->listening);
	play_run_ready(p);
}

/* Hands off an accepted connection, of which a copy is kept; returns the client's end. */
int play_hand_off_one(struct play *p, uint32_t listener)
{
	int client = connect_tcp("127.0.0.1", p->port);
	struct ipc_handoff body = {.listener = listener, .first = p->next++};
	struct ipc_peer peer = {.size = sizeof(struct sockaddr_in)};
	struct sockaddr_in from = {.sin_family = AF_INET, .sin_port = htons(4711)};

	from.sin_addr.s_addr = htonl(0x0a000001);
	memcpy(peer.address, &from, sizeof(from));
	close_fd(p->copy);
	/* The client's end may be connected before the listener has it. */
	assert_true(wait_readable(p->listening, WAIT_MS));
	p->copy = accept4(p->listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_true(p->copy >= 0);
	play_say(p, IPC_HANDOFF, &body, &peer, 1, &p->copy);
	return client;
}

void play_let_go(struct play *p)
{
	close_fd(take_fd(&p->copy));
	claims_let_go(&p->claims, p->next - 1);
}

/* The same, by a supervisor that has looked already. */
int play_hand_off(struct play *p, uint32_t listener)
{
	int client = play_hand_off_one(p, listener);

	play_let_go(p);
	return client;
}

void play_expect_taken(struct play *p, uint32_t number)
{
	assert_int_equal(claims_read(&p->claims).taken, number);
}

void play_expect_bell(struct play *p, uint32_t number)
{
	struct ipc_message message;

	assert_true(play_hear(p, IPC_PROGRESS, &message));
	assert_int_equal(((const struct ipc_progress *)message.body)->taken, number);
	assert_false(play_hear(p, IPC_PROGRESS, &message));
}

void play_expect_silence(struct play *p)
{
	struct ipc_message message;

	assert_false(play_hear(p, IPC_PROGRESS, &message));
}

/* Standard error is ours only while the loop runs, for cmocka uses it too. */
void play_run_logged(struct play *p, char ret[PLAY_LOG_SIZE])
{
	AUTO_CLOSE int file = memfd_create("log", MFD_CLOEXEC);
	AUTO_CLOSE int saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
	ssize_t size;

	assert_true(file >= 0 && saved >= 0);
	dup2(file, STDERR_FILENO);
	play_run_ready(p);
	dup2(saved, STDERR_FILENO);
	size = pread(file, ret, PLAY_LOG_SIZE - 1, 0);
	ret[size > 0 ? size : 0] = '\0';
}

void play_expect_logged(const char *text, const char *wanted)
{
	if (!strstr(text, wanted))
		fail_msg("no \"%s\" in:\n%s", wanted, text);
}
