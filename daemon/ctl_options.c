#include "daemon/ctl_options.h"

#include <getopt.h>
#include <stdarg.h>
#include <string.h>

#include "common/macros.h"
#include "common/number.h"
#include "daemon/config.h"

#define FORM_SIZE 32

enum long_option { OPTION_JSON = 256, OPTION_TIMEOUT, OPTION_LIST, OPTION_WORKER };

static const struct option long_options[] = {
	{"socket", required_argument, NULL, 's'},
	{"config", required_argument, NULL, 'c'},
	{"json", no_argument, NULL, OPTION_JSON},
	{"timeout", required_argument, NULL, OPTION_TIMEOUT},
	{"list", no_argument, NULL, OPTION_LIST},
	{"worker", required_argument, NULL, OPTION_WORKER},
	{"version", no_argument, NULL, 'v'},
	{"help", no_argument, NULL, 'h'},
	{0},
};

static int complain(char complaint[CTL_COMPLAINT_SIZE], const char *format, ...) PRINTF_LIKE(2, 3);

static int complain(char complaint[CTL_COMPLAINT_SIZE], const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(complaint, CTL_COMPLAINT_SIZE, format, args);
	va_end(args);
	return -EINVAL;
}

static int take_timeout(const char *text, struct ctl_options *options,
			char complaint[CTL_COMPLAINT_SIZE])
{
	uint64_t seconds;

	if (number_parse(text, CTL_TIMEOUT_MAX_S, &seconds) < 0 || seconds == 0)
		return complain(complaint, "--timeout takes whole seconds from 1 to %d, not \"%s\"",
				CTL_TIMEOUT_MAX_S, text);
	options->timeout_ms = (unsigned int)seconds * 1000;
	return 0;
}

static int take_worker(const char *text, struct ctl_options *options,
		       char complaint[CTL_COMPLAINT_SIZE])
{
	uint64_t worker;

	if (number_parse(text, UINT32_MAX, &worker) < 0 || worker == 0)
		return complain(complaint, "--worker takes the number of a worker, not \"%.40s\"",
				text);
	options->worker = (unsigned int)worker;
	return 0;
}

/* getopt_long() left the culprit in optopt or just behind it. */
static int complain_of_option(int found, char **argv, char complaint[CTL_COMPLAINT_SIZE])
{
	const char *word = optind > 0 ? argv[optind - 1] : "";

	if (found == ':')
		return complain(complaint, "option %s needs a value", word);
	if (optopt > 0 && optopt < OPTION_JSON && strncmp(word, "--", 2) != 0)
		return complain(complaint, "unknown option -%c", optopt);
	return complain(complaint, "unknown or unclear option %s", word);
}

static int take_option(int found, char **argv, struct ctl_options *options,
		       char complaint[CTL_COMPLAINT_SIZE])
{
	switch (found) {
	case 's':
		options->socket = optarg;
		return 0;
	case 'c':
		options->config = optarg;
		return 0;
	case OPTION_JSON:
		options->json = true;
		return 0;
	case OPTION_TIMEOUT:
		return take_timeout(optarg, options, complaint);
	case OPTION_LIST:
		options->list = true;
		return 0;
	case OPTION_WORKER:
		return take_worker(optarg, options, complaint);
	case 'v':
		options->wish = CTL_VERSION;
		return 0;
	case 'V':
		options->wish = CTL_BUILD;
		return 0;
	case 'h':
		options->wish = CTL_HELP;
		return 0;
	default:
		return complain_of_option(found, argv, complaint);
	}
}

static int take_verb(const char *name, struct ctl_options *options,
		     char complaint[CTL_COMPLAINT_SIZE])
{
	const char *meant;

	options->verb = ctl_verb_find(name, &meant);
	if (options->verb)
		return 0;
	if (meant)
		return complain(complaint, "no verb \"%.40s\"; did you mean \"%s\"?", name, meant);
	return complain(complaint, "no verb \"%.40s\"", name);
}

static size_t count_operands(const struct ctl_verb *verb)
{
	size_t count = 0;

	while (count < CTL_OPERANDS_MAX && verb->operands[count].name)
		count++;
	return count;
}

static int complain_of_operand(const struct ctl_verb *verb, const struct ctl_operand *operand,
			       const char *text, char complaint[CTL_COMPLAINT_SIZE])
{
	if (operand->kind == CTL_COUNT)
		return complain(complaint, "%s takes a number from 1 to %d, not \"%.40s\"",
				verb->name, CONFIG_WORKERS_MAX, text);
	if (operand->kind == CTL_ID)
		return complain(complaint, "%s takes the number of a worker, not \"%.40s\"",
				verb->name, text);
	if (operand->kind == CTL_CHOICE)
		return complain(complaint, "%s takes %s, not \"%.40s\"", verb->name, operand->name,
				text);
	return complain(complaint, "%s takes UTF-8 text", verb->name);
}

static int take_operands(int argc, char **argv, struct ctl_options *options,
			 char complaint[CTL_COMPLAINT_SIZE])
{
	static const char *const numbers[] = {"no operand", "one operand", "two operands"};
	const struct ctl_verb *verb = options->verb;
	size_t count = count_operands(verb), which = 0;
	json_t *request;

	if ((size_t)argc > count)
		return complain(complaint, "%s takes %s; what is \"%.40s\"?", verb->name,
				numbers[count], argv[argc - 1]);
	for (size_t i = 0; i < count; i++) {
		options->operands[i] = i < (size_t)argc ? argv[i] : NULL;
		if (verb->operands[i].needed && !options->operands[i])
			return complain(complaint, "%s needs %s", verb->name,
					verb->operands[i].name);
	}
	if (ctl_verb_request(verb, options->operands, &request, &which) < 0)
		return complain_of_operand(verb, &verb->operands[which], options->operands[which],
					   complaint);
	json_decref(request);
	return 0;
}

static int take_words(int argc, char **argv, struct ctl_options *options,
		      char complaint[CTL_COMPLAINT_SIZE])
{
	int r;

	if (options->wish != CTL_ASK && options->wish != CTL_HELP)
		return 0;
	if (argc == 0)
		return options->wish == CTL_HELP ? 0 : complain(complaint, "a verb is missing");

	r = take_verb(argv[0], options, complaint);
	if (r < 0 || options->wish == CTL_HELP)
		return r;
	return take_operands(argc - 1, argv + 1, options, complaint);
}

int ctl_options_parse(int argc, char **argv, struct ctl_options *ret,
		      char complaint[CTL_COMPLAINT_SIZE])
{
	struct ctl_options options = {.timeout_ms = CTL_TIMEOUT_S * 1000};
	int found, r;

	optind = 0; /* begin anew, also with the order of argv */
	opterr = 0;
	while ((found = getopt_long(argc, argv, ":s:c:vVh", long_options, NULL)) != -1) {
		r = take_option(found, argv, &options, complaint);
		if (r < 0)
			return r;
	}
	if (options.socket && options.config)
		return complain(complaint, "-s and -c both name the socket; give one of them");

	r = take_words(argc - optind, argv + optind, &options, complaint);
	if (r < 0)
		return r;
	if (options.list && options.verb && !options.verb->lists)
		return complain(complaint, "--list goes with connections");
	if (options.worker && !options.list)
		return complain(complaint, "--worker goes with --list");
	*ret = options;
	return 0;
}

/* The verb as one types it. */
static const char *form_of(const struct ctl_verb *verb, char form[FORM_SIZE])
{
	int used = snprintf(form, FORM_SIZE, "%s", verb->name);

	for (size_t i = 0; i < count_operands(verb); i++)
		used += snprintf(form + used, (size_t)(FORM_SIZE - used),
				 verb->operands[i].needed ? " %s" : " [%s]",
				 verb->operands[i].name);
	return form;
}

void ctl_options_help(const struct ctl_verb *verb, FILE *out)
{
	char form[FORM_SIZE];

	if (verb) {
		fprintf(out, "usage: usherctl [options] %s\n\n%s\n", form_of(verb, form),
			verb->details);
		return;
	}

	fputs("usage: usherctl [options] VERB [OPERAND]\n"
	      "\n"
	      "Asks a running usherd, or tells it to change something.\n"
	      "\n"
	      "verbs:\n",
	      out);
	for (size_t i = 0; i < ctl_verb_count; i++)
		fprintf(out, "  %-22s %s\n", form_of(&ctl_verbs[i], form), ctl_verbs[i].summary);
	fprintf(out,
		"\n"
		"options:\n"
		"  -s, --socket SOCKET    the control socket of that usherd\n"
		"  -c, --config FILE      the control socket that this configuration names\n"
		"      --json             print the answer as usherd gave it\n"
		"      --list             name each connection (of connections)\n"
		"      --worker N         name those of worker N alone\n"
		"      --timeout SECONDS  give up then (%d)\n"
		"  -v, --version          print the version\n"
		"  -V                     print the version and the paths it was built with\n"
		"  -h, --help             print this, or what a VERB does\n",
		CTL_TIMEOUT_S);
}
