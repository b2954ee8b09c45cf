#include "tests/helpers/master.h"

#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "common/macros.h"
#include "tests/helpers/wait.h"

#define DRAIN_MS 60000
#define TURN_S   0.002

/* --- what workers say ------------------------------------------------------------------------ */

static struct master_worker *worker_of(struct process *process)
{
	return CONTAINER_OF(process, struct master_worker, process);
}

static void greet(struct master_worker *w)
{
	const struct ipc_welcome welcome = {
		.worker = w->id, .drain_timeout_ms = DRAIN_MS, .orphan_timeout_ms = DRAIN_MS};

	AUTO_CLOSE int claims = -1;
	assert_int_equal(process_send(&w->process, IPC_WELCOME, &welcome, NULL, 0, NULL), 0);
	assert_int_equal(handoff_open(&w->taker.handoff, &claims), 0);
	assert_int_equal(process_send(&w->process, IPC_CLAIMS, NULL, NULL, 0, &claims), 0);
	assert_int_equal(process_send(&w->process, IPC_START, NULL, NULL, 0, NULL), 0);
}

static int handle(struct master *m, struct master_worker *w, struct ipc_message *message)
{
	switch ((unsigned int)message->type) {
	case IPC_HELLO:
		greet(w);
		return 0;
	case IPC_READY:
		w->ready = w->taker.ready = true;
		dispatch_update(&m->dispatcher);
		return 0;
	case IPC_LISTEN:
		return shares_listen(&w->holder, message);
	case IPC_SERVING:
		return shares_serving(&w->holder, message);
	case IPC_UNLISTEN:
		return shares_unlisten(&w->holder, message);
	case IPC_DRAINING:
		w->taker.ready = false;
		shares_disconnect(&w->holder);
		return 0;
	case IPC_PROGRESS:
		return dispatch_progress(&m->dispatcher, &w->taker, message);
	default:
		return 0;
	}
}

static void on_message(struct process *process, struct ipc_message *message, void *ctx)
{
	struct master_worker *w = worker_of(process);

	if (handle(ctx, w, message) == 0)
		return;
	w->complaint = ipc_type_name(message->type);
	process_kill(process);
}

static void on_failed(struct process *process, enum ipc_step step, int error, void *ctx)
{
	fail_msg("a worker cannot be started: %s", strerror(-error));
}

static void on_lost(struct process *process, int error, const char *why, void *ctx)
{
	struct master_worker *w = worker_of(process);

	w->lost = true;
	w->taker.ready = false;
	shares_end(&w->holder);
}

static void on_exit_status(struct process *process, void *ctx)
{
	struct master *m = ctx;
	struct master_worker *w = worker_of(process);

	w->exited = true;
	w->taker.ready = false;
	process->pid = 0;
	shares_end(&w->holder);
	dispatch_bury(&m->dispatcher, &w->taker);
}

static void on_deadline(struct process *process, void *ctx)
{
}

static const struct process_ops process_ops = {
	.on_message = on_message,
	.on_failed = on_failed,
	.on_lost = on_lost,
	.on_exit = on_exit_status,
	.on_deadline = on_deadline,
};

/* --- what shares tell ------------------------------------------------------------------------ */

static enum share_permission permit(struct holder *holder, const struct share_request *request,
				    const struct addr *addr, void *ctx)
{
	return SHARE_BY_WORKER;
}

static void on_refused(struct holder *holder, const struct share_request *request, int error,
		       void *ctx)
{
	struct master *m = ctx;

	m->n_refused++;
}

static void on_difference(struct holder *holder, const struct share_request *request,
			  const char *option, void *ctx)
{
	struct master *m = ctx;

	snprintf(m->difference, sizeof(m->difference), "%s", option);
}

static void on_listening(struct holder *holder, const struct share *share, void *ctx)
{
	const struct share_request *request = &share->request;
	struct master *m = ctx;
	bool is_path = request->kind == IPC_LISTEN_PATH;

	m->n_listening++;
	snprintf(m->heard, sizeof(m->heard), "%s %d %d %d", request->text ? request->text : "-",
		 is_path ? -1 : addr_family(&share->bound.addr), addr_port(&share->bound.addr),
		 request->fd);
}

static void on_unreachable(struct holder *holder, int error, void *ctx)
{
	fail_msg("a worker cannot be told: %s", strerror(-error));
}

static const struct shares_ops shares_ops = {
	.permit = permit,
	.on_refused = on_refused,
	.on_difference = on_difference,
	.on_listening = on_listening,
	.on_unreachable = on_unreachable,
};

static void on_complaint(const struct taker *taker, const char *what, int error, void *ctx)
{
}

static void on_taker(const struct taker *taker, void *ctx)
{
}

static void on_broke(struct taker *taker, void *ctx)
{
	fail_msg("a worker took what it was never sent");
}

static void on_dropped(size_t count, void *ctx)
{
}

static const struct dispatch_ops dispatch_ops = {
	.complaint = on_complaint,
	.late = on_taker,
	.again = on_taker,
	.broke = on_broke,
	.dropped = on_dropped,
};

/* --- from start to end ----------------------------------------------------------------------- */

static void on_turn(struct ev_loop *loop, ev_timer *watcher, int events)
{
	ev_break(loop, EVBREAK_ONE);
}

void master_run(struct master *m)
{
	ev_timer turn;

	ev_timer_init(&turn, on_turn, TURN_S, 0);
	ev_now_update(m->loop);
	ev_timer_start(m->loop, &turn);
	ev_run(m->loop, 0);
	ev_timer_stop(m->loop, &turn);
}

void master_meanwhile(void *ctx)
{
	master_run(ctx);
}

void master_open(struct master *m, enum policy policy)
{
	static char path[PATH_MAX];
	const char *build = getenv("USHER_BUILD");

	snprintf(path, sizeof(path), "%s/tests/helpers/fake_listener", build ? build : "build");
	*m = (struct master){.loop = ev_default_loop(EVFLAG_AUTO)};
	strcpy(m->folder, "/tmp/usher-test-XXXXXX");
	assert_non_null(mkdtemp(m->folder));
	crew_open(&m->crew, m->folder);
	m->crew.meanwhile = master_meanwhile;
	m->crew.ctx = m;
	assert_int_equal(setenv("CREW", m->crew.path, 1), 0);
	assert_int_equal(program_open(path, &m->program), 0);

	shares_init(&m->shares, m->loop, NULL, &shares_ops, m);
	dispatch_init(&m->dispatcher, m->loop, &dispatch_ops, m);
	shares_hand_off(&m->shares, &m->dispatcher, policy);
}

void master_fork(struct master *m)
{
	struct master_worker *w = &m->workers[m->count++];

	assert_true(m->count <= CREW_MAX);
	*w = (struct master_worker){.id = (unsigned int)m->count};
	process_init(&w->process, m->loop, &process_ops, m);
	taker_init(&w->taker, w->id, &w->process.channel);
	holder_init(&w->holder, &m->shares, &w->process.channel, &w->taker);
	dispatch_add_taker(&m->dispatcher, &w->taker);
	assert_int_equal(process_spawn(&w->process, &m->program), 0);
	crew_await(&m->crew, 1);
	MASTER_RUN_UNTIL(m, w->ready);
}

void master_disconnect(struct master *m, size_t worker)
{
	const struct ipc_drain drain = {.timeout_ms = DRAIN_MS};
	struct master_worker *w = &m->workers[worker];

	w->taker.ready = false;
	shares_disconnect(&w->holder);
	assert_int_equal(process_send(&w->process, IPC_DRAIN, &drain, NULL, 0, NULL), 0);
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *where)
{
	return remove(path);
}

void master_done(struct master *m)
{
	for (size_t i = 0; i < m->count; i++) {
		struct master_worker *w = &m->workers[i];

		process_kill(&w->process);
		MASTER_RUN_UNTIL(m, w->exited);
		dispatch_remove_taker(&m->dispatcher, &w->taker);
		taker_done(&w->taker);
		process_close(&w->process);
	}
	shares_done(&m->shares);
	dispatch_done(&m->dispatcher);
	program_close(&m->program);
	crew_done(&m->crew);
	nftw(m->folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}
