/* Text to a tree of YAML nodes, none of which is of a form that we do not want.
 *
 * A configuration is small and plain: one document, no anchors, aliases or tags, and no more than
 * CONFIG_DEPTH_MAX lists and maps within each other. Whatever walks the tree can rely on that, so
 * a few bytes cannot unfold into gigabytes.
 *
 * Owns:   the document is the caller's to yaml_document_delete() once 0 was returned.
 * Errors: 0; -EINVAL, with complaints; -ENOMEM.
 * Source: YAML 1.1; libyaml's yaml.h. */
#ifndef USHER_DAEMON_CONFIG_YAML_H
#define USHER_DAEMON_CONFIG_YAML_H

#include <stddef.h>
#include <yaml.h>

#include "daemon/config_errors.h"

#define CONFIG_DEPTH_MAX 16

/* The file member of mark and its rank say which file the text is of. A text without a document
 * leaves a document without a root node. */
int config_yaml_load(const struct config_mark *mark, const void *text, size_t size,
		     struct config_errors *errors, yaml_document_t *ret);

/* A place in that file; the rest of mark is ignored. */
struct config_mark config_yaml_mark(const struct config_mark *mark, const yaml_mark_t *at);

#endif
