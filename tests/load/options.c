#include "tests/load/options.h"

#include <err.h>
#include <getopt.h>
#include <limits.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "common/macros.h"
#include "common/net/addr.h"
#include "common/number.h"

#define CONNECTIONS_MAX 1000000
#define SIZE_MAX_BYTES  (16 << 20)
#define OUTSTANDING_MAX (64 << 20) /* bytes of one connection that wait for their answer */
#define RATE_MAX        10000000
#define SOURCES_MAX     250
#define SECONDS_MAX     86400

/* What one source address gives at most by the default ip_local_port_range. */
#define PORTS_OF_A_SOURCE 28000
/* Ports of closed connections are free again after a second (tcp_tw_reuse=2 on the loopback). */
#define CHURN_SOURCES     8

const char *const load_mode_names[LOAD_MODES] = {
	[LOAD_ECHO] = "echo",     [LOAD_PACED] = "paced", [LOAD_CHURN] = "churn",
	[LOAD_STREAM] = "stream", [LOAD_IDLE] = "idle",   [LOAD_MIXED] = "mixed",
};

static const char usage[] =
	"usage: usher-load [OPTION...] echo|paced|churn|stream|idle|mixed TARGET\n"
	"TARGET is ADDRESS:PORT, [ADDRESS]:PORT, a path with a slash, or @NAME: an echo server.\n"
	"\n"
	"  -c, --connections N     open at a time (1; churn and mixed: 64; stream: 4)\n"
	"  -s, --size BYTES        of a message (64; stream: 65536)\n"
	"  -P, --pipeline N        messages under way on each connection (1)\n"
	"  -r, --rate N            messages a second (paced, mixed), connections (churn)\n"
	"      --open-rate N       connections a second that are opened before (no pace)\n"
	"      --churn-rate N      mixed: connections a second beside them (1000)\n"
	"  -d, --duration SECONDS  that are measured (10)\n"
	"      --warmup SECONDS    before them (0.5)\n"
	"      --wait SECONDS      for a target that does not listen yet (0)\n"
	"      --midway COMMAND    for the shell, when half of the duration is over\n"
	"  -p, --processes N       that make the load (1)\n"
	"      --sources N         connect from 127.0.0.1 to 127.0.0.N by turns\n"
	"      --reset             churn: close with a reset, which leaves no TIME-WAIT\n"
	"  -v, --verify            compare every byte that comes back\n"
	"  -S, --server-pid PID    its processor time and memory, with its descendants'\n"
	"      --upstream-pid PID  of what stands behind a proxy: neither server nor disturbance\n"
	"  -j, --json              one line of JSON instead of a table\n"
	"  -q, --quiet             no live progress\n"
	"  -h, --help  -V, --version\n";

enum {
	OPTION_CHURN_RATE = 256,
	OPTION_OPEN_RATE,
	OPTION_WARMUP,
	OPTION_WAIT,
	OPTION_SOURCES,
	OPTION_RESET,
	OPTION_MIDWAY,
	OPTION_UPSTREAM
};

static const struct option long_options[] = {
	{"connections", required_argument, NULL, 'c'},
	{"size", required_argument, NULL, 's'},
	{"pipeline", required_argument, NULL, 'P'},
	{"rate", required_argument, NULL, 'r'},
	{"churn-rate", required_argument, NULL, OPTION_CHURN_RATE},
	{"open-rate", required_argument, NULL, OPTION_OPEN_RATE},
	{"duration", required_argument, NULL, 'd'},
	{"warmup", required_argument, NULL, OPTION_WARMUP},
	{"wait", required_argument, NULL, OPTION_WAIT},
	{"midway", required_argument, NULL, OPTION_MIDWAY},
	{"processes", required_argument, NULL, 'p'},
	{"sources", required_argument, NULL, OPTION_SOURCES},
	{"reset", no_argument, NULL, OPTION_RESET},
	{"verify", no_argument, NULL, 'v'},
	{"server-pid", required_argument, NULL, 'S'},
	{"upstream-pid", required_argument, NULL, OPTION_UPSTREAM},
	{"json", no_argument, NULL, 'j'},
	{"quiet", no_argument, NULL, 'q'},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, 'V'},
	{NULL, 0, NULL, 0},
};

__attribute__((noreturn)) static void usage_error(void)
{
	fputs(usage, stderr);
	exit(EX_USAGE);
}

static uint64_t number(const char *name, uint64_t min, uint64_t max)
{
	uint64_t value;

	if (number_parse(optarg, max, &value) < 0 || value < min)
		errx(EX_USAGE, "%s: not a number from %llu to %llu: '%s'", name,
		     (unsigned long long)min, (unsigned long long)max, optarg);
	return value;
}

static double seconds(const char *name, double min)
{
	char *end;
	double value = strtod(optarg, &end);

	if (end == optarg || *end || !isfinite(value) || value < min || value > SECONDS_MAX)
		errx(EX_USAGE, "%s: not a number of seconds from %g to %d: '%s'", name, min,
		     SECONDS_MAX, optarg);
	return value;
}

static void add_pid(const char *name, pid_t *pids, int *count)
{
	if (*count == LOAD_PIDS_MAX)
		errx(EX_USAGE, "%s: more than %d", name, LOAD_PIDS_MAX);
	pids[(*count)++] = (pid_t)number(name, 1, INT_MAX);
}

static void take_flag(struct load_options *o, int option)
{
	switch (option) {
	case OPTION_RESET:
		o->reset = true;
		break;
	case 'v':
		o->verify = true;
		break;
	case 'j':
		o->json = true;
		break;
	case 'q':
		o->quiet = true;
		break;
	case 'h':
		fputs(usage, stdout);
		exit(0);
	case 'V':
		puts("usher-load " USHER_VERSION);
		exit(0);
	default:
		usage_error();
	}
}

static void take_option(struct load_options *o, int option)
{
	switch (option) {
	case 'c':
		o->connections = number("--connections", 1, CONNECTIONS_MAX);
		break;
	case 's':
		o->size = number("--size", 1, SIZE_MAX_BYTES);
		break;
	case 'P':
		o->pipeline = number("--pipeline", 1, 65536);
		break;
	case 'r':
		o->rate = number("--rate", 1, RATE_MAX);
		break;
	case OPTION_CHURN_RATE:
		o->churn_rate = number("--churn-rate", 1, RATE_MAX);
		break;
	case OPTION_OPEN_RATE:
		o->open_rate = number("--open-rate", 1, RATE_MAX);
		break;
	case 'd':
		o->duration = seconds("--duration", 0.01);
		break;
	case OPTION_WARMUP:
		o->warmup = seconds("--warmup", 0);
		break;
	case OPTION_WAIT:
		o->wait = seconds("--wait", 0);
		break;
	case OPTION_MIDWAY:
		o->midway = optarg;
		break;
	case 'p':
		o->processes = number("--processes", 1, LOAD_PROCESSES_MAX);
		break;
	case OPTION_SOURCES:
		o->sources = number("--sources", 1, SOURCES_MAX);
		break;
	case 'S':
		add_pid("--server-pid", o->server_pids, &o->n_server_pids);
		break;
	case OPTION_UPSTREAM:
		add_pid("--upstream-pid", o->upstream_pids, &o->n_upstream_pids);
		break;
	default:
		take_flag(o, option);
	}
}

static enum load_mode mode_by_name(const char *name)
{
	for (int i = 0; i < LOAD_MODES; i++) {
		if (strcmp(name, load_mode_names[i]) == 0)
			return i;
	}
	errx(EX_USAGE, "no such mode: '%s'", name);
}

static void take_path(struct load_options *o, const char *text)
{
	struct addr addr;

	if (addr_unix(text, &addr) < 0)
		errx(EX_USAGE, "not a path for a socket: '%s'", text);
	o->path = text;
}

static void take_target(struct load_options *o, const char *text)
{
	const char *colon = strrchr(text, ':');
	struct addr addr;
	uint64_t port;
	size_t length;

	if (text[0] == '@' || strchr(text, '/')) {
		take_path(o, text);
		return;
	}
	if (!colon || number_parse(colon + 1, UINT16_MAX, &port) < 0 || port == 0)
		errx(EX_USAGE, "not a target: '%s'", text);

	length = (size_t)(colon - text);
	if (length > 2 && text[0] == '[' && text[length - 1] == ']') {
		text++;
		length -= 2;
	}
	if (length >= sizeof(o->host))
		errx(EX_USAGE, "the address is too long: '%s'", text);
	memcpy(o->host, text, length);
	o->host[length] = '\0';
	o->port = (uint16_t)port;
	/* A name would be looked up for each connection, and measured. */
	if (addr_parse(o->host, o->port, &addr) < 0)
		errx(EX_USAGE, "not an IPv4 or IPv6 address: '%s'", o->host);
}

static void set_defaults(struct load_options *o)
{
	bool churns = o->mode == LOAD_CHURN || o->mode == LOAD_MIXED;
	bool loopback = strncmp(o->host, "127.", 4) == 0;

	if (o->connections == 0)
		o->connections = churns ? 64 : o->mode == LOAD_STREAM ? 4 : 1;
	if (o->size == 0)
		o->size = o->mode == LOAD_STREAM ? 65536 : 64;
	if (o->churn_rate == 0)
		o->churn_rate = 1000;
	if (o->sources == 0 && loopback && churns && !o->reset)
		o->sources = CHURN_SOURCES;
	if (o->sources == 0 && loopback && o->connections > PORTS_OF_A_SOURCE)
		o->sources = 1 + o->connections / PORTS_OF_A_SOURCE;
	if (o->sources > 0 && !loopback)
		errx(EX_USAGE, "--sources needs a target in 127.0.0.0/8");
}

static void check_together(const struct load_options *o)
{
	bool paced = o->mode == LOAD_PACED || o->mode == LOAD_MIXED;

	if (paced && o->rate == 0)
		errx(EX_USAGE, "%s needs --rate", load_mode_names[o->mode]);
	if (!paced && o->mode != LOAD_CHURN && o->rate > 0)
		errx(EX_USAGE, "%s has no --rate", load_mode_names[o->mode]);
	if (o->mode == LOAD_CHURN && o->open_rate > 0)
		errx(EX_USAGE, "churn has no --open-rate");
	if (o->pipeline > 1 && o->mode != LOAD_ECHO)
		errx(EX_USAGE, "only echo has --pipeline");
	if (o->size * o->pipeline > OUTSTANDING_MAX)
		errx(EX_USAGE, "--size times --pipeline is above %d bytes", OUTSTANDING_MAX);
	if (o->processes > o->connections)
		errx(EX_USAGE, "more processes than connections");
}

void load_options_parse(struct load_options *ret, int argc, char *argv[])
{
	struct load_options o = {.processes = 1, .pipeline = 1, .warmup = 0.5, .duration = 10};
	int option;

	while ((option = getopt_long(argc, argv, "c:s:P:r:d:p:vS:jqhV", long_options, NULL)) != -1)
		take_option(&o, option);
	if (argc - optind != 2)
		usage_error();

	o.mode = mode_by_name(argv[optind]);
	take_target(&o, argv[optind + 1]);
	set_defaults(&o);
	check_together(&o);
	*ret = o;
}
