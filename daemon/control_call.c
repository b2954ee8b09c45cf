#include "daemon/control_call.h"

#include <assert.h>
#include <ev.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>

#include "common/log.h"
#include "common/macros.h"
#include "daemon/control_request.h"

#define REFUSAL_TEXT_SIZE 512

enum call_state {
	CALL_READING, /* the request line */
	CALL_WAITING, /* for the receiver's answer */
	CALL_WRITING, /* the answer line */
	CALL_ENDED,   /* no client any more; kept only while the receiver owes an answer */
};

struct control_call {
	struct ev_loop *loop;
	struct control_calls *calls; /* NULL after control_calls_end() */
	TAILQ_ENTRY(control_call) link;
	enum call_state state;
	bool owed; /* the receiver has the call and must still answer or refuse it */
	bool may_change;
	int fd;
	ev_io io;
	ev_timer deadline;

	char line[CONTROL_REQUEST_SIZE];
	size_t line_size;
	json_t *request;

	char *answer;
	size_t answer_size, answer_sent;
};

/* --- the end ---------------------------------------------------------------------------------- */

static void leave(struct control_call *call)
{
	struct control_calls *calls = call->calls;

	TAILQ_REMOVE(&calls->list, call, link);
	calls->count--;
	call->calls = NULL;
}

static void forget(struct control_call *call)
{
	struct control_calls *calls = call->calls;

	if (calls)
		leave(call);
	json_decref(call->request);
	free(call);
	if (calls && calls->on_room)
		calls->on_room(calls);
}

/* Ends the connection; the call itself stays for as long as the receiver may still name it. */
static void end(struct control_call *call)
{
	ev_io_stop(call->loop, &call->io);
	ev_timer_stop(call->loop, &call->deadline);
	close_fd(take_fd(&call->fd));
	free(call->answer);
	call->answer = NULL;
	call->state = CALL_ENDED;

	if (!call->owed)
		forget(call);
}

/* --- answers ---------------------------------------------------------------------------------- */

/* Sends what the kernel takes now. 0: all of it is gone; -EAGAIN: not yet. */
static int send_some(struct control_call *call)
{
	ssize_t sent = send(call->fd, call->answer + call->answer_sent,
			    call->answer_size - call->answer_sent, MSG_NOSIGNAL);

	if (sent == -1)
		return errno == EINTR ? -EAGAIN : -errno;
	call->answer_sent += (size_t)sent;
	return call->answer_sent == call->answer_size ? 0 : -EAGAIN;
}

static void on_writable(struct control_call *call)
{
	int r = send_some(call);

	if (r == -EAGAIN)
		return;
	if (r < 0)
		log_debug("control: a client went before it had its answer: %s", strerror(-r));
	end(call);
}

/* Takes over text, the answer line without its line feed. */
static void set_answer(struct control_call *call, char *text)
{
	call->answer = text;
	call->answer_size = strlen(text);
	call->answer[call->answer_size++] = '\n'; /* in place of the zero, which nobody needs now */
	call->answer_sent = 0;
	call->state = CALL_WRITING;
}

static void start_writing(struct control_call *call, char *text)
{
	set_answer(call, text);
	ev_io_stop(call->loop, &call->io);
	ev_io_set(&call->io, call->fd, EV_WRITE);
	ev_io_start(call->loop, &call->io);
	call->deadline.repeat = call->calls->io_ms / 1000.0;
	ev_timer_again(call->loop, &call->deadline);
}

static char *refusal_text(int exit_code, const char *message)
{
	json_t *refusal = json_pack("{s:i, s:b, s:{s:i, s:s}}", "version", CONTROL_VERSION, "ok", 0,
				    "error", "exit", exit_code, "message", message);
	char *text = refusal ? json_dumps(refusal, JSON_COMPACT) : NULL;

	json_decref(refusal);
	return text;
}

/* Sends a refusal of ours or the receiver's. */
static void write_refusal(struct control_call *call, int exit_code, const char *message)
{
	char *text = refusal_text(exit_code, message);

	/* The message may hold a byte that is no UTF-8, as file names do. */
	if (!text)
		text = refusal_text(exit_code,
				    "the reason cannot be put into JSON; see usherd's log");
	if (!text) {
		end(call);
		return;
	}
	start_writing(call, text);
}

static char *answer_text(json_t *answer)
{
	json_t *whole = json_pack("{s:i, s:b}", "version", CONTROL_VERSION, "ok", 1);
	char *text = NULL;

	if (whole && answer && json_object_update_missing(whole, answer) == 0)
		text = json_dumps(whole, JSON_COMPACT);
	json_decref(whole);
	return text;
}

/* The receiver has made up its mind; false: there is nobody left to tell. */
static bool settle(struct control_call *call)
{
	assert(call->owed);
	call->owed = false;
	if (call->state == CALL_ENDED)
		forget(call);
	else if (call->state == CALL_WAITING)
		return true;
	return false;
}

void control_answer(struct control_call *call, json_t *answer)
{
	char *text;

	if (!settle(call)) {
		json_decref(answer);
		return;
	}

	text = answer_text(answer);
	json_decref(answer);
	if (text && strlen(text) < CONTROL_ANSWER_SIZE) {
		start_writing(call, text);
		return;
	}
	write_refusal(call, EX_SOFTWARE,
		      text ? "the answer is too long" : "the answer cannot be put into JSON");
	free(text);
}

void control_refuse(struct control_call *call, int exit_code, const char *format, ...)
{
	char message[REFUSAL_TEXT_SIZE];
	va_list args;

	if (!settle(call))
		return;

	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	write_refusal(call, exit_code, message);
}

bool control_may_change(const struct control_call *call)
{
	return call->may_change;
}

/* --- requests --------------------------------------------------------------------------------- */

static void pass_on(struct control_call *call, size_t size)
{
	struct control_calls *calls = call->calls;
	char complaint[CONTROL_COMPLAINT_SIZE];

	if (control_request_parse(call->line, size, &call->request, complaint) < 0) {
		write_refusal(call, EX_USAGE, complaint);
		return;
	}

	call->state = CALL_WAITING;
	call->owed = true;
	call->deadline.repeat = calls->answer_ms / 1000.0;
	ev_timer_again(call->loop, &call->deadline);
	calls->fn(call, json_string_value(json_object_get(call->request, "command")), call->request,
		  calls->ctx);
}

/* Looks for the whole line among the received bytes, of which the last fresh ones are new. */
static void take_line(struct control_call *call, size_t fresh)
{
	const char *from = call->line + call->line_size - fresh;
	const char *feed = memchr(from, '\n', fresh);

	if (feed && feed + 1 != call->line + call->line_size)
		write_refusal(call, EX_USAGE, "only one request may be sent on a connection");
	else if (feed)
		pass_on(call, (size_t)(feed - call->line));
	else if (call->line_size == sizeof(call->line))
		write_refusal(call, EX_USAGE, "the request is longer than 4096 bytes");
}

static void read_line(struct control_call *call)
{
	ssize_t got = recv(call->fd, call->line + call->line_size,
			   sizeof(call->line) - call->line_size, 0);

	if (got == -1 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got > 0) {
		call->line_size += (size_t)got;
		take_line(call, (size_t)got);
		return;
	}
	if (got == 0 && call->line_size > 0)
		write_refusal(call, EX_USAGE, "the request ended before its line feed");
	else
		end(call);
}

/* A readable client that owes us nothing has gone, has shut its sending side, which is fine, or
 * talks on, which nobody listens to. */
static void look_after_waiting(struct control_call *call)
{
	struct pollfd state = {.fd = call->fd};

	if (poll(&state, 1, 0) == 1 && state.revents & (POLLHUP | POLLERR)) {
		log_debug("control: a client went before its answer was known");
		end(call);
		return;
	}
	ev_io_stop(call->loop, &call->io); /* writing will show when it goes */
}

static void on_call_io(struct ev_loop *loop, ev_io *io, int revents)
{
	struct control_call *call = CONTAINER_OF(io, struct control_call, io);

	if (call->state == CALL_READING)
		read_line(call);
	else if (call->state == CALL_WAITING)
		look_after_waiting(call);
	else
		on_writable(call);
}

static void on_deadline(struct ev_loop *loop, ev_timer *deadline, int revents)
{
	struct control_call *call = CONTAINER_OF(deadline, struct control_call, deadline);

	if (call->state == CALL_READING) {
		write_refusal(call, EX_USAGE, "no whole request came in time");
	} else if (call->state == CALL_WAITING) {
		log_warning("control: a request was not answered within %u ms; refusing it",
			    call->calls->answer_ms);
		write_refusal(call, EX_TEMPFAIL, "usherd found no answer in time; try again");
	} else {
		log_debug("control: a client did not take its answer within %u ms",
			  call->calls->io_ms);
		end(call);
	}
}

/* --- the list --------------------------------------------------------------------------------- */

int control_calls_add(struct control_calls *calls, int fd, bool may_change)
{
	struct control_call *call = calloc(1, sizeof(*call));

	if (!call)
		return -ENOMEM;

	call->loop = calls->loop;
	call->calls = calls;
	call->fd = fd;
	call->may_change = may_change;
	TAILQ_INSERT_TAIL(&calls->list, call, link);
	calls->count++;

	ev_io_init(&call->io, on_call_io, fd, EV_READ);
	ev_io_start(calls->loop, &call->io);
	ev_timer_init(&call->deadline, on_deadline, 0, calls->io_ms / 1000.0);
	ev_timer_again(calls->loop, &call->deadline);
	return 0;
}

/* One try, without waiting, to give the client what it is still to get. */
static void say_last_word(struct control_call *call)
{
	if (call->state == CALL_WAITING) {
		char *text = refusal_text(EX_UNAVAILABLE, "usherd is going");

		if (text)
			set_answer(call, text);
	}
	if (call->state == CALL_WRITING)
		send_some(call);
}

void control_calls_end(struct control_calls *calls)
{
	struct control_call *next;

	for (struct control_call *call = TAILQ_FIRST(&calls->list); call; call = next) {
		next = TAILQ_NEXT(call, link);
		say_last_word(call);
		leave(call);
		end(call);
	}
}
