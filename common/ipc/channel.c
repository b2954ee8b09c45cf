#include "common/ipc/channel.h"

#include <fcntl.h>
#include <stdalign.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "common/fdpass.h"
#include "common/macros.h"

/* So many are received per wake-up, that a busy peer cannot starve the others. */
#define MESSAGES_PER_WAKEUP 64

/* What is short may be there again after this. */
#define RETRY_S 0.1

/* A packet that waits for room in the kernel. */
struct channel_packet {
	STAILQ_ENTRY(channel_packet) link;
	size_t n_fds;
	size_t size;
	char *data; /* behind the descriptors */
	int fds[];
};

int channel_pair(int ret_fds[2])
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ret_fds) == -1)
		return -errno;
	return 0;
}

static void packet_free(struct channel_packet *packet)
{
	for (size_t i = 0; i < packet->n_fds; i++)
		close_fd(packet->fds[i]);
	free(packet);
}

static int packet_new(const void *data, size_t size, const int *fds, size_t n_fds,
		      struct channel_packet **ret)
{
	struct channel_packet *packet = malloc(sizeof(*packet) + n_fds * sizeof(*fds) + size);

	if (!packet)
		return -ENOMEM;
	packet->n_fds = 0;
	packet->size = size;
	packet->data = (char *)(packet->fds + n_fds);
	memcpy(packet->data, data, size);

	/* The caller may close his own before this one is sent. */
	for (size_t i = 0; i < n_fds; i++) {
		int fd = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);

		if (fd == -1) {
			int error = -errno;

			packet_free(packet);
			return error;
		}
		packet->fds[packet->n_fds++] = fd;
	}
	*ret = packet;
	return 0;
}

static void drop_queue(struct channel *channel)
{
	struct channel_packet *packet;

	while ((packet = STAILQ_FIRST(&channel->queue))) {
		STAILQ_REMOVE_HEAD(&channel->queue, link);
		packet_free(packet);
	}
	channel->queued_bytes = channel->queued_messages = 0;
}

static int send_now(struct channel *channel, const void *data, size_t size, const int *fds,
		    size_t n_fds)
{
	struct iovec part = {(void *)data, size};
	ssize_t sent = fdpass_send(channel->fd, &part, 1, fds, n_fds);

	if (sent != -EPIPE && sent != -ECONNRESET)
		return sent < 0 ? (int)sent : 0;

	/* The other end takes no more. What it said before is still to be read, and then the
	 * reading side tells the loss, once: after a shutdown it finds the end in any case. */
	shutdown(channel->fd, SHUT_RDWR);
	return -EPIPE;
}

/* Whether something is short, here or in the kernel: that says nothing of the other end. */
static bool is_shortage(int error)
{
	return error == -ENOMEM || error == -ENOBUFS || error == -ETOOMANYREFS || error == -EMFILE;
}

static void retry_later(struct channel *channel)
{
	if (ev_is_active(&channel->retry))
		return;
	ev_timer_set(&channel->retry, RETRY_S, 0);
	ev_timer_start(channel->loop, &channel->retry);
}

static void tell_drained(struct channel *channel)
{
	if (channel->drained)
		channel->drained(channel, channel->drained_ctx);
}

static void on_retry(struct ev_loop *loop, ev_timer *watcher, int events)
{
	struct channel *channel = CONTAINER_OF(watcher, struct channel, retry);

	if (STAILQ_EMPTY(&channel->queue))
		tell_drained(channel);
	else
		ev_io_start(loop, &channel->writer);
}

static void lose(struct channel *channel, int error, const char *why)
{
	channel_close(channel);
	channel->ops->on_lost(channel, error, why, channel->ctx);
}

static void on_writable(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct channel *channel = CONTAINER_OF(watcher, struct channel, writer);
	struct channel_packet *packet;

	while ((packet = STAILQ_FIRST(&channel->queue))) {
		int error = send_now(channel, packet->data, packet->size, packet->fds,
				     packet->n_fds);
		if (error == -EAGAIN)
			return;
		if (error == -EPIPE) {
			drop_queue(channel);
			break;
		}
		if (is_shortage(error)) {
			ev_io_stop(loop, watcher);
			retry_later(channel);
			return;
		}
		if (error < 0) {
			lose(channel, error, "its channel takes no message");
			return;
		}
		STAILQ_REMOVE_HEAD(&channel->queue, link);
		channel->queued_bytes -= packet->size;
		channel->queued_messages--;
		packet_free(packet);
	}
	ev_io_stop(loop, watcher);
	tell_drained(channel);
}

static int enqueue(struct channel *channel, const void *data, size_t size, const int *fds,
		   size_t n_fds)
{
	struct channel_packet *packet;
	int error;

	if (channel->queued_messages == CHANNEL_QUEUE_MESSAGES ||
	    channel->queued_bytes + size > CHANNEL_QUEUE_BYTES)
		return -ENOBUFS;

	error = packet_new(data, size, fds, n_fds, &packet);
	if (error < 0)
		return error;

	STAILQ_INSERT_TAIL(&channel->queue, packet, link);
	channel->queued_bytes += size;
	channel->queued_messages++;
	if (!ev_is_active(&channel->retry))
		ev_io_start(channel->loop, &channel->writer);
	return 0;
}

int channel_send(struct channel *channel, enum ipc_type type, const void *body, const void *tail,
		 size_t tail_count, const int *fds)
{
	alignas(uint32_t) char packet[IPC_PACKET_MAX];
	size_t n_fds = ipc_fd_count(type, tail_count);
	int size, error = -EAGAIN;

	if (channel->fd == -1)
		return -EPIPE;

	size = ipc_encode(type, body, tail, tail_count, packet);
	if (size < 0)
		return size;

	if (STAILQ_EMPTY(&channel->queue))
		error = send_now(channel, packet, (size_t)size, fds, n_fds);
	if (error == -EAGAIN || is_shortage(error))
		error = enqueue(channel, packet, (size_t)size, fds, n_fds);
	/* Else nothing leaves that would say when it is worth another try. */
	if (is_shortage(error) && STAILQ_EMPTY(&channel->queue))
		retry_later(channel);
	return error;
}

int channel_tell(struct channel *channel, enum ipc_type type, const void *body, const void *tail,
		 size_t tail_count, const int *fds)
{
	int error = channel_send(channel, type, body, tail, tail_count, fds);

	return error == -EPIPE ? 0 : error;
}

/* Receives one message. Returns whether another may be tried. */
static bool receive(struct channel *channel)
{
	alignas(uint32_t) char packet[IPC_PACKET_MAX];
	int fds[IPC_FDS_MAX];
	struct ipc_message message;
	const char *why;
	size_t n_fds = 0;
	bool lost = false;
	ssize_t size;

	size = fdpass_recv_lossy(channel->fd, packet, sizeof(packet), fds, ARRAY_LEN(fds), &n_fds,
				 &lost);
	if (size == -EAGAIN)
		return false;
	/* The other end closed and left messages unread: told once, before what it sent itself. */
	if (size == -ECONNRESET)
		return true;
	/* With descriptors it is no end but an empty packet, and they are closed below. */
	if (size == 0 && n_fds == 0 && !lost) {
		lose(channel, 0, "it closed its channel");
		return false;
	}
	if (size < 0) {
		lose(channel, (int)size,
		     size == -EMSGSIZE ? "it sent a message that is too long"
				       : "its channel cannot be read");
		return false;
	}
	channel->received += (size_t)size;

	int error = ipc_decode(channel->other, packet, (size_t)size, lost ? IPC_FDS_LOST : n_fds,
			       &message, &why);
	if (error == 0) {
		message.fds = fds;
		channel->ops->on_message(channel, &message, channel->ctx);
	}
	for (size_t i = 0; i < n_fds; i++)
		close_fd(fds[i]);
	if (error < 0) {
		lose(channel, error, why);
		return false;
	}
	return channel->fd != -1;
}

void channel_finish(struct channel *channel)
{
	size_t end;
	int waiting; /* bytes, of all messages */

	if (channel->fd == -1)
		return;
	if (ioctl(channel->fd, FIONREAD, &waiting) == -1) {
		lose(channel, -errno, "its channel cannot be read");
		return;
	}
	/* Every message is some bytes of that, so this ends; then comes the end, or who goes on. */
	end = channel->received + (size_t)waiting;
	while (receive(channel) && channel->received <= end)
		;
}

static void on_readable(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct channel *channel = CONTAINER_OF(watcher, struct channel, reader);

	/* The kernel has no room for one watch more, and libev has stopped it by itself. */
	if (events & EV_ERROR) {
		lose(channel, -ENOMEM, "its channel cannot be watched");
		return;
	}
	for (int i = 0; i < MESSAGES_PER_WAKEUP; i++)
		if (!receive(channel))
			return;
}

int channel_open(struct channel *channel, struct ev_loop *loop, int fd, enum ipc_side side,
		 const struct channel_ops *ops, void *ctx)
{
	int type;
	socklen_t size = sizeof(type);

	channel->fd = -1;
	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == -1)
		return -errno;
	if (type != SOCK_SEQPACKET)
		return -EPROTOTYPE;

	*channel = (struct channel){
		.loop = loop,
		.fd = fd,
		.other = side == IPC_SUPERVISOR ? IPC_WORKER : IPC_SUPERVISOR,
		.ops = ops,
		.ctx = ctx,
	};
	STAILQ_INIT(&channel->queue);
	ev_io_init(&channel->reader, on_readable, fd, EV_READ);
	ev_io_init(&channel->writer, on_writable, fd, EV_WRITE);
	ev_init(&channel->retry, on_retry);
	ev_io_start(loop, &channel->reader);
	return 0;
}

void channel_when_drained(struct channel *channel, channel_drained_fn *fn, void *ctx)
{
	channel->drained = fn;
	channel->drained_ctx = ctx;
}

bool channel_is_drained(const struct channel *channel)
{
	return STAILQ_EMPTY(&channel->queue);
}

void channel_ref(struct channel *channel)
{
	if (channel->fd != -1 && channel->unreferenced)
		ev_ref(channel->loop);
	channel->unreferenced = false;
}

void channel_unref(struct channel *channel)
{
	if (channel->fd != -1 && !channel->unreferenced)
		ev_unref(channel->loop);
	channel->unreferenced = true;
}

void channel_close(struct channel *channel)
{
	if (channel->fd == -1)
		return;

	channel_ref(channel);
	ev_io_stop(channel->loop, &channel->reader);
	ev_io_stop(channel->loop, &channel->writer);
	ev_timer_stop(channel->loop, &channel->retry);
	close_fd(channel->fd);
	channel->fd = -1;
	drop_queue(channel);
}
