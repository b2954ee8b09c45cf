/* Fuzzes what a supervisor does with the requests of workers to listen: two workers say whatever
 * comes, and ports of the system's choice are the only ones that they get.
 *
 * A message that is refused ends its worker; at the end nobody holds anything. */
#include <errno.h>
#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/cluster/shares.h"
#include "common/macros.h"

#define WORKERS 2

#define REQUIRE(condition)        \
	do {                      \
		if (!(condition)) \
			abort();  \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct worker {
	struct channel channel;
	struct holder holder;
	int theirs;
	bool ended;
};

static enum share_permission permit(struct holder *holder, const struct share_request *request,
				    const struct addr *addr, void *ctx)
{
	char text[64];

	share_request_format(request, text, sizeof(text));
	REQUIRE(strlen(text) < sizeof(text));
	return request->kind == IPC_LISTEN_PORT && request->port == 0 && addr ? SHARE_BY_ANYBODY
									      : SHARE_REFUSED;
}

static void on_refused(struct holder *holder, const struct share_request *request, int error,
		       void *ctx)
{
}

static void on_difference(struct holder *holder, const struct share_request *request,
			  const char *option, void *ctx)
{
	REQUIRE(option);
}

static void on_listening(struct holder *holder, const struct share *share, void *ctx)
{
	REQUIRE(share->bound.fd >= 0);
}

static void on_unreachable(struct holder *holder, int error, void *ctx)
{
}

static const struct shares_ops shares_ops = {
	.permit = permit,
	.on_refused = on_refused,
	.on_difference = on_difference,
	.on_listening = on_listening,
	.on_unreachable = on_unreachable,
};

static void on_message(struct channel *channel, struct ipc_message *message, void *ctx)
{
	struct worker *worker = ctx;
	int error = 0;

	if (message->type == IPC_LISTEN)
		error = shares_listen(&worker->holder, message);
	else if (message->type == IPC_SERVING)
		error = shares_serving(&worker->holder, message);
	else if (message->type == IPC_UNLISTEN)
		error = shares_unlisten(&worker->holder, message);
	else if (message->type == IPC_COUNTED && message->tail_count > 0)
		error = shares_counted(&worker->holder, message->tail);
	else if (message->type == IPC_DRAINING)
		shares_disconnect(&worker->holder);
	REQUIRE(error == 0 || error == -EPROTO);
	if (error == 0)
		return;
	worker->ended = true;
	shares_end(&worker->holder);
	channel_close(channel);
}

static void on_lost(struct channel *channel, int error, const char *why, void *ctx)
{
	struct worker *worker = ctx;

	worker->ended = true;
	shares_end(&worker->holder);
}

static const struct channel_ops channel_ops = {.on_message = on_message, .on_lost = on_lost};

static void begin(struct worker *worker, struct ev_loop *loop, struct shares *shares)
{
	int pair[2];

	REQUIRE(channel_pair(pair) == 0);
	REQUIRE(channel_open(&worker->channel, loop, pair[0], IPC_SUPERVISOR, &channel_ops,
			     worker) == 0);
	holder_init(&worker->holder, shares, &worker->channel, NULL);
	worker->theirs = pair[1];
	worker->ended = false;
}

/* Answers are taken, and what they bring is closed with the socket. */
static void listen_to_answers(struct worker *worker)
{
	alignas(uint32_t) char answer[256];

	while (recv(worker->theirs, answer, sizeof(answer), MSG_DONTWAIT) > 0)
		;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct ev_loop *loop;
	struct worker workers[WORKERS];
	struct shares shares;

	if (!loop)
		loop = ev_loop_new(EVFLAG_AUTO);
	REQUIRE(loop);
	shares_init(&shares, loop, NULL, &shares_ops, NULL);
	for (size_t i = 0; i < WORKERS; i++)
		begin(&workers[i], loop, &shares);

	/* Each message: one byte for who, one for the size. */
	while (size >= 2) {
		struct worker *worker = &workers[data[0] % WORKERS];
		size_t length = data[1] < size - 2 ? data[1] : size - 2;

		if (!worker->ended && length > 0)
			send(worker->theirs, data + 2, length, MSG_NOSIGNAL | MSG_DONTWAIT);
		data += 2 + length;
		size -= 2 + length;
		ev_run(loop, EVRUN_NOWAIT);
		listen_to_answers(worker);
	}

	for (size_t i = 0; i < WORKERS; i++) {
		shares_end(&workers[i].holder);
		channel_close(&workers[i].channel);
		close_fd(workers[i].theirs);
	}
	REQUIRE(LIST_EMPTY(&shares.list));
	shares_done(&shares);
	return 0;
}
