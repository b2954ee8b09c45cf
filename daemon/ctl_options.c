#include "daemon/ctl_options.h"

#include <getopt.h>
#include <stdarg.h>
#include <string.h>

#include "common/macros.h"
#include "common/number.h"
#include "daemon/config.h"

#define FORM_SIZE 32

enum long_option { OPTION_JSON = 256, OPTION_TIMEOUT };

static const struct option long_options[] = {
	{"socket", required_argument, NULL, 's'},
	{"config", required_argument, NULL, 'c'},
	{"json", no_argument, NULL, OPTION_JSON},
	{"timeout", required_argument, NULL, OPTION_TIMEOUT},
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

static int take_operand(int argc, char **argv, struct ctl_options *options,
			char complaint[CTL_COMPLAINT_SIZE])
{
	const struct ctl_verb *verb = options->verb;
	json_t *request;
	int r;

	if (argc > (verb->operand ? 1 : 0))
		return complain(complaint, "%s takes %s; what is \"%.40s\"?", verb->name,
				verb->operand ? "one operand" : "no operand", argv[argc - 1]);
	if (argc == 0 && verb->needs_operand)
		return complain(complaint, "%s needs %s", verb->name, verb->operand);
	options->operand = argc > 0 ? argv[0] : NULL;

	r = ctl_verb_request(verb, options->operand, &request);
	if (r < 0 && verb->is_number)
		return complain(complaint, "%s takes a number from 1 to %d, not \"%.40s\"",
				verb->name, CONFIG_WORKERS_MAX, options->operand);
	if (r < 0)
		return complain(complaint, "%s takes UTF-8 text", verb->name);
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
	return take_operand(argc - 1, argv + 1, options, complaint);
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
	*ret = options;
	return 0;
}

/* The verb as one types it. */
static const char *form_of(const struct ctl_verb *verb, char form[FORM_SIZE])
{
	if (!verb->operand)
		return verb->name;
	snprintf(form, FORM_SIZE, verb->needs_operand ? "%s %s" : "%s [%s]", verb->name,
		 verb->operand);
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
		"      --timeout SECONDS  give up then (%d)\n"
		"  -v, --version          print the version\n"
		"  -V                     print the version and the paths it was built with\n"
		"  -h, --help             print this, or what a VERB does\n",
		CTL_TIMEOUT_S);
}
