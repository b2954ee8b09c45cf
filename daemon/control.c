#include "daemon/control.h"

#include <ev.h>
#include <string.h>
#include <sys/socket.h>

#include "common/log.h"
#include "common/macros.h"
#include "common/net/bind.h"
#include "daemon/control_call.h"
#include "daemon/control_peer.h"

#define SOCKET_MODE      0660
#define BACKLOG          64
#define ACCEPTS_PER_TURN 16
#define ACCEPT_PAUSE_S   1.0 /* when the process is out of descriptors or memory */

struct control {
	struct bound socket;
	gid_t group;
	struct control_calls calls;
	ev_io accepting;
	ev_timer pause;
	bool accept_failed; /* said so already */
};

/* Lets more clients in when there is room and no pause. */
static void resume_accepting(struct control_calls *calls)
{
	struct control *c = CONTAINER_OF(calls, struct control, calls);

	if (calls->count < CONTROL_CALLS && !ev_is_active(&c->pause))
		ev_io_start(calls->loop, &c->accepting);
}

static bool peer_may_change(const struct control_peer *peer)
{
	return peer->uid == 0 || peer->uid == geteuid() || peer->in_group;
}

/* Takes over fd, also on failure. */
static int add_call(struct control *c, int fd)
{
	AUTO_CLOSE int owned = fd;
	struct control_peer peer;
	int r;

	r = control_peer_get(fd, c->group, &peer);
	if (r < 0)
		return r;
	log_debug("control: connection of pid %d, uid %u", (int)peer.pid, (unsigned)peer.uid);

	r = control_calls_add(&c->calls, fd, peer_may_change(&peer));
	if (r == 0)
		take_fd(&owned);
	return r;
}

/* Out of descriptors or memory: the socket would stay readable and the loop spin. */
static void pause_accepting(struct control *c, int error)
{
	if (!c->accept_failed)
		log_warning("control: cannot accept: %s; trying again every second",
			    strerror(error));
	c->accept_failed = true;
	ev_io_stop(c->calls.loop, &c->accepting);
	ev_timer_again(c->calls.loop, &c->pause);
}

/* Whether there may be more to accept. */
static bool accept_one(struct control *c)
{
	int fd = accept4(c->socket.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	int r;

	if (fd == -1) {
		if (errno == EINTR || errno == ECONNABORTED)
			return true;
		if (errno != EAGAIN)
			pause_accepting(c, errno);
		return false;
	}
	c->accept_failed = false;

	r = add_call(c, fd);
	if (r < 0)
		log_warning("control: a connection is closed unheard: %s", strerror(-r));
	return true;
}

static void on_acceptable(struct ev_loop *loop, ev_io *io, int revents)
{
	struct control *c = CONTAINER_OF(io, struct control, accepting);

	/* The kernel has no room for one watch more. */
	if (revents & EV_ERROR) {
		pause_accepting(c, ENOMEM);
		return;
	}
	for (int i = 0; i < ACCEPTS_PER_TURN && c->calls.count < CONTROL_CALLS; i++)
		if (!accept_one(c))
			return;
	if (c->calls.count == CONTROL_CALLS)
		ev_io_stop(loop, io); /* until one ends */
}

static void on_pause_over(struct ev_loop *loop, ev_timer *pause, int revents)
{
	struct control *c = CONTAINER_OF(pause, struct control, pause);

	ev_timer_stop(loop, pause);
	resume_accepting(&c->calls);
}

static const char *hint(int error)
{
	switch (error) {
	case EADDRINUSE:
		return ": another usherd answers there, or it is no socket; stop that usherd, "
		       "remove the file, or name another path with \"control\"";
	case ENOENT:
		return ": its folder does not exist";
	case EACCES:
	case EPERM:
		return ": usherd's user may not make it there or give it to that group";
	default:
		return "";
	}
}

static int open_socket(const char *path, gid_t group, struct bound *ret)
{
	const struct bind_options options = {
		.path = path,
		.backlog = BACKLOG,
		.replace_stale = true,
		.set_mode = true,
		.mode = SOCKET_MODE,
		.set_owner = group != (gid_t)-1,
		.uid = (uid_t)-1,
		.gid = group,
	};
	const char *syscall;
	int r = bind_open(&options, ret, &syscall);

	if (r < 0)
		log_error("cannot open the control socket \"%s\": %s (%s)%s", path, strerror(-r),
			  syscall, hint(-r));
	return r;
}

int control_open(struct ev_loop *loop, const char *path, gid_t group, control_request_fn *fn,
		 void *ctx, struct control **ret)
{
	struct control *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;

	r = open_socket(path, group, &c->socket);
	if (r < 0) {
		free(c);
		return r;
	}

	c->group = group;
	c->calls = (struct control_calls){.loop = loop, .fn = fn, .ctx = ctx};
	c->calls.on_room = resume_accepting;
	c->calls.io_ms = CONTROL_IO_MS;
	c->calls.answer_ms = CONTROL_ANSWER_MS;
	TAILQ_INIT(&c->calls.list);
	ev_timer_init(&c->pause, on_pause_over, 0, ACCEPT_PAUSE_S);
	ev_io_init(&c->accepting, on_acceptable, c->socket.fd, EV_READ);
	ev_io_start(loop, &c->accepting);
	*ret = c;
	return 0;
}

void control_close(struct control *c)
{
	if (!c)
		return;

	c->calls.on_room = NULL;
	ev_io_stop(c->calls.loop, &c->accepting);
	ev_timer_stop(c->calls.loop, &c->pause);
	control_calls_end(&c->calls);
	bound_close(&c->socket);
	free(c);
}
