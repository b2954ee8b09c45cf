/* What usher-load is asked to do: its command line.
 *
 * Owns:   texts point into argv.
 * Errors: a wrong command line ends the program with EX_USAGE and a message; --help and --version
 *         end it with 0.
 * Source: getopt_long(3), sysexits.h. */
#ifndef USHER_TESTS_LOAD_OPTIONS_H
#define USHER_TESTS_LOAD_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define LOAD_PIDS_MAX      16
#define LOAD_PROCESSES_MAX 64
#define LOAD_HOST_SIZE     64

enum load_mode {
	LOAD_ECHO,
	LOAD_PACED,
	LOAD_CHURN,
	LOAD_STREAM,
	LOAD_IDLE,
	LOAD_MIXED,
	LOAD_MODES
};

extern const char *const load_mode_names[LOAD_MODES];

struct load_options {
	enum load_mode mode;

	/* The target: a path ("@name": abstract), or an address and a port. */
	const char *path;
	char host[LOAD_HOST_SIZE];
	uint16_t port;

	uint64_t connections; /* of all processes; churn: at a time */
	uint64_t processes;
	uint64_t size;
	uint64_t pipeline;
	uint64_t rate;       /* a second, of all processes; 0: no pace */
	uint64_t open_rate;  /* connections a second before the start; 0: no pace */
	uint64_t churn_rate; /* mixed: connections a second beside the paced messages */
	uint64_t sources;    /* 127.0.0.1 to 127.0.0.N; 0: the kernel chooses */
	bool verify;
	bool reset;
	double warmup;
	double duration;
	double wait; /* until the target listens */
	const char
		*midway; /* a command for the shell, in the middle of the measured time; or NULL */

	pid_t server_pids[LOAD_PIDS_MAX]; /* with all their descendants */
	int n_server_pids;
	pid_t upstream_pids[LOAD_PIDS_MAX]; /* the same, of what stands behind a proxy */
	int n_upstream_pids;

	bool json;
	bool quiet;
};

void load_options_parse(struct load_options *ret, int argc, char *argv[]);

#endif
