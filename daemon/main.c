/* usherd: reads its configuration, opens its listeners, and supervises workers. */
#include <ev.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sysexits.h>

#include "common/log.h"
#include "common/macros.h"
#include "daemon/activation.h"
#include "daemon/commands.h"
#include "daemon/config.h"
#include "daemon/control.h"
#include "daemon/cpus.h"
#include "daemon/identity.h"
#include "daemon/notify.h"
#include "daemon/streams.h"
#include "daemon/supervisor.h"

struct arguments {
	const char *config;
	const char *worker;
	bool test;
	bool print;
};

static const char usage[] =
	"usage: usherd [-c FILE] [-t | -T] [--worker PROGRAM]\n"
	"\n"
	"Listens as the configuration says and hands its sockets to worker processes.\n"
	"\n"
	"  -c, --config FILE     the configuration (" USHER_CONFIG ")\n"
	"  -t, --test            check the configuration and end; binds nothing\n"
	"  -T, --print           the same, and print the merged result\n"
	"      --worker PROGRAM  what to execute as worker\n"
	"  -v, --version\n"
	"  -h, --help\n"
	"\n"
	"TERM or INT: stop gracefully, a second one at once. usherctl(1) asks and steers it.\n";

static _Noreturn void end_usage(void)
{
	fputs("usherd: try \"usherd --help\"\n", stderr);
	exit(EX_USAGE);
}

static void parse_arguments(int argc, char **argv, struct arguments *ret)
{
	enum { WORKER = 256 };
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'},
		{"test", no_argument, NULL, 't'},
		{"print", no_argument, NULL, 'T'},
		{"worker", required_argument, NULL, WORKER},
		{"version", no_argument, NULL, 'v'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	int option;

	*ret = (struct arguments){.config = USHER_CONFIG};
	while ((option = getopt_long(argc, argv, "c:tTvVh", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			ret->config = optarg;
			break;
		case 'T':
			ret->print = true;
			ret->test = true;
			break;
		case 't':
			ret->test = true;
			break;
		case WORKER:
			ret->worker = optarg;
			break;
		case 'v':
		case 'V':
			puts("usherd " USHER_VERSION);
			exit(EX_OK);
		case 'h':
			fputs(usage, stdout);
			exit(EX_OK);
		default:
			end_usage();
		}
	}
	if (optind == argc)
		return;
	fprintf(stderr, "usherd: \"%s\" is one argument too many\n", argv[optind]);
	end_usage();
}

/* Who only tests opens no socket, and must be told that what it prints cannot be written. */
static void open_streams(const struct arguments *arguments)
{
	int error = arguments->test ? 0 : streams_open();

	if (error == 0)
		return;
	fprintf(stderr, "usherd: cannot open /dev/null for a standard stream that is closed: %s\n",
		strerror(-error));
	exit(EX_OSERR);
}

/* Ends the program when there is no valid configuration. */
static struct config *load(const char *file)
{
	static struct config_errors errors;
	struct config *config = NULL;
	int error = config_load(file, &errors, &config);

	if (error < 0) {
		config_errors_print(&errors, stderr);
		if (error == -ENOMEM || config_errors_count(&errors) == 0)
			fprintf(stderr, "usherd: %s: %s\n", file, strerror(-error));
		exit(error == -ENOMEM ? EX_OSERR : EX_CONFIG);
	}
	config_errors_done(&errors);
	return config;
}

static int test_only(const struct config *config, const struct arguments *arguments)
{
	if (!arguments->print) {
		printf("%s: the configuration is valid\n", arguments->config);
		return EX_OK;
	}
	int error = config_print(config, stdout);
	if (error < 0 || fflush(stdout) == EOF) {
		fprintf(stderr, "usherd: standard output: %s\n",
			strerror(error < 0 ? -error : errno));
		return EX_IOERR;
	}
	return EX_OK;
}

/* The worker of this build or installation: beside usherd, else where it gets installed. */
static void find_worker(char *path, size_t size)
{
	ssize_t length = readlink("/proc/self/exe", path, size - 1);

	if (length > 0) {
		path[length] = '\0';
		char *name = strrchr(path, '/') + 1;
		snprintf(name, size - (size_t)(name - path), "usher-worker");
		if (access(path, X_OK) == 0)
			return;
	}
	snprintf(path, size, "%s", USHER_WORKER);
}

static void raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == -1)
		return;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) == -1)
		log_warning("the limit of open files stays at its soft value: %m");
}

/* The folder of the default control socket is ours to make, so that a first run needs no
 * preparation; systemd makes it by RuntimeDirectory=. */
static void make_control_folder(const char *control)
{
	char folder[PATH_MAX];

	snprintf(folder, sizeof(folder), "%s", control);
	char *slash = strrchr(folder, '/');
	if (!slash || slash == folder)
		return;
	*slash = '\0';
	if (mkdir(folder, 0755) == -1 && errno != EEXIST)
		log_warning("cannot make the folder %s: %m", folder);
}

static void complain_unused(const char *name, int fd, void *ctx)
{
	log_warning("the passed socket \"%s\" (descriptor %d) has no listener; closing it", name,
		    fd);
}

static void on_stop_signal(struct ev_loop *loop, ev_signal *watcher, int events)
{
	log_info("received SIG%s", sigabbrev_np(watcher->signum));
	supervisor_stop(watcher->data);
}

static void on_hangup(struct ev_loop *loop, ev_signal *watcher, int events)
{
	log_warning("received SIGHUP: this usherd does not reload yet; restart it instead");
}

/* People try them on daemons that they do not know; by default they would end it. */
static void on_unused_signal(struct ev_loop *loop, ev_signal *watcher, int events)
{
	log_warning("received SIG%s: it means nothing to usherd", sigabbrev_np(watcher->signum));
}

struct signals {
	ev_signal term, interrupt, hangup, user1, user2;
};

static void watch_signals(struct ev_loop *loop, struct signals *signals, struct supervisor *s)
{
	ev_signal_init(&signals->term, on_stop_signal, SIGTERM);
	ev_signal_init(&signals->interrupt, on_stop_signal, SIGINT);
	ev_signal_init(&signals->hangup, on_hangup, SIGHUP);
	ev_signal_init(&signals->user1, on_unused_signal, SIGUSR1);
	ev_signal_init(&signals->user2, on_unused_signal, SIGUSR2);
	signals->term.data = signals->interrupt.data = s;
	ev_signal_start(loop, &signals->term);
	ev_signal_start(loop, &signals->interrupt);
	ev_signal_start(loop, &signals->hangup);
	ev_signal_start(loop, &signals->user1);
	ev_signal_start(loop, &signals->user2);
	signal(SIGPIPE, SIG_IGN);
}

/* Unavailable is what somebody else has, or has yet to provide. */
static int exit_code(int error)
{
	switch (error) {
	case -EACCES:
	case -EPERM:
		return EX_NOPERM;
	case -EADDRINUSE:
	case -EADDRNOTAVAIL:
	case -ENOENT:
	case NET_ERR_NOT_FOUND:
	case NET_ERR_EAI_AGAIN:
	case NET_ERR_EAI_FAIL:
	case -EBUSY:
	case -ENOTSOCK:
		return EX_UNAVAILABLE;
	default:
		return EX_OSERR;
	}
}

static unsigned int worker_count(const struct config *config)
{
	unsigned int cpus;

	if (config->workers)
		return config->workers;
	cpus = cpus_granted();
	return cpus < CONFIG_WORKERS_MAX ? cpus : CONFIG_WORKERS_MAX;
}

static int serve(struct ev_loop *loop, const struct config *config, const struct program *program)
{
	struct supervisor supervisor;
	struct signals signals;
	struct control *control = NULL;
	int error;

	/* One that comes before the loop runs is handled as its first event. */
	watch_signals(loop, &signals, &supervisor);
	error = supervisor_init(&supervisor, loop, config, program, worker_count(config));
	activation_close_rest(complain_unused, NULL);
	if (error == 0) {
		make_control_folder(config->control);
		error = control_open(loop, config->control, getegid(), commands_handle, &supervisor,
				     &control);
	}
	if (error == 0) {
		log_info("usherctl asks at %s", config->control);
		supervisor_start(&supervisor);
		ev_run(loop, 0);
		log_info("stopped");
	}
	supervisor_done(&supervisor);
	control_close(control);
	return error == 0 ? EX_OK : exit_code(error);
}

int main(int argc, char **argv)
{
	char worker[PATH_MAX];
	struct arguments arguments;
	int passed;

	parse_arguments(argc, argv, &arguments);
	open_streams(&arguments);
	log_init("usherd", LOG_LEVEL_INFO);
	passed = arguments.test ? 0 : activation_init();
	if (passed < 0)
		log_error("the sockets passed by LISTEN_FDS cannot be used: %s", strerror(-passed));

	struct config *config = load(arguments.config);
	if (arguments.test) {
		int status = test_only(config, &arguments);

		config_free(config);
		return status;
	}

	find_worker(worker, sizeof(worker));
	struct program program;
	int error = child_program_open(arguments.worker ? arguments.worker : worker, &program);
	if (error < 0) {
		log_error("the worker \"%s\" cannot be executed: %s",
			  arguments.worker ? arguments.worker : worker, strerror(-error));
		return EX_UNAVAILABLE;
	}
	if (identity_choose(config, &program) < 0)
		return EX_NOUSER;

	error = notify_init();
	if (error < 0)
		log_warning("the service manager's environment is of no use: %s", strerror(-error));
	raise_file_limit();

	struct ev_loop *loop = ev_default_loop(EVBACKEND_EPOLL | EVFLAG_NOENV);
	if (!loop) {
		log_error("there is no event loop: epoll is not available");
		return EX_OSERR;
	}
	int status = serve(loop, config, &program);
	program_close(&program);
	config_free(config);
	ev_loop_destroy(loop);
	return status;
}
