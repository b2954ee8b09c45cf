# usher: everything is built, tested and installed from here; products go to build/.
#
# Yours to set: CC, CPPFLAGS, CFLAGS, LDFLAGS (they come after ours), PREFIX and the folders below,
# DESTDIR, BUILD, WERROR=1 (warnings are errors), V=1 (show the commands).

VERSION = 0.1.0
SOVERSION = 0

CC        ?= cc
CFLAGS    ?= -O2 -g
PKG_CONFIG ?= pkg-config
PREFIX    ?= /usr/local
SYSCONFDIR ?= /etc
BINDIR     = $(PREFIX)/bin
SBINDIR    = $(PREFIX)/sbin
LIBDIR     = $(PREFIX)/lib
LIBEXECDIR = $(PREFIX)/libexec/usher
INCLUDEDIR = $(PREFIX)/include
MANDIR     = $(PREFIX)/share/man
DOCDIR     = $(PREFIX)/share/doc/usher
UNITDIR    = $(PREFIX)/lib/systemd/system
BUILD      = build

# Debian packages by name: to build and run, and what a target needs on top of that. What comes
# from elsewhere as often as from Debian is asked for only if the program is not there.
unless = $(if $(shell command -v $(1)),,$(2))
BUILD_PACKAGES    = gcc libc6-dev pkg-config libev-dev libyaml-dev libjansson-dev
check_PACKAGES    = g++ libcmocka-dev iproute2 systemd $(call unless,node,nodejs) \
	$(call unless,nc,netcat-openbsd)
sanitize_PACKAGES = $(check_PACKAGES)
valgrind_PACKAGES = $(check_PACKAGES) valgrind
fuzz_PACKAGES     = clang libclang-rt-dev llvm
bench_PACKAGES    = jq iproute2 haproxy nginx libnginx-mod-stream gnuplot-nox \
	$(if $(shell command -v node),,nodejs)
bench-net_PACKAGES = strace
lint_PACKAGES     = $(check_PACKAGES) clang clang-format clang-tidy cppcheck mandoc shellcheck

# --- flags ------------------------------------------------------------------------------------

WARNINGS = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
	-Wwrite-strings -Wformat=2 -Wundef -Wvla -Wswitch-enum -Wno-unused-parameter \
	$(if $(filter 1,$(WERROR)),-Werror)

# _FORTIFY_SOURCE wants an optimising compiler, and a user's own value goes first.
OPTIMISES = $(filter-out -O0,$(lastword $(filter -O%,$(CFLAGS))))
FORTIFIED = $(findstring _FORTIFY_SOURCE,$(CC) $(CPPFLAGS) $(CFLAGS))
HARDENING = -fstack-protector-strong \
	$(if $(SANITIZE)$(FORTIFIED),,$(if $(OPTIMISES),-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2))

# Evaluated when the file is read: `run` and `check` call make anew once the packages are there.
pkg = $(shell $(PKG_CONFIG) $(1) $(2) 2>/dev/null || echo $(3))
LIB_CFLAGS  := $(call pkg,--cflags,yaml-0.1 jansson,)
EV_LIBS     := -lev
LIBS        := $(EV_LIBS) $(call pkg,--libs,yaml-0.1 jansson,-lyaml -ljansson) -lm
CMOCKA_LIBS := $(call pkg,--libs,cmocka,-lcmocka)

OUR_CFLAGS = -std=gnu11 -D_GNU_SOURCE -fPIC -fvisibility=hidden -fno-strict-aliasing -MMD -MP \
	$(WARNINGS) $(HARDENING) $(SANITIZE) -I. -I$(BUILD)/include $(LIB_CFLAGS) \
	-DUSHER_VERSION='"$(VERSION)"' -DUSHER_WORKER='"$(LIBEXECDIR)/usher-worker"' \
	-DUSHER_CONFIG='"$(SYSCONFDIR)/usher/usher.yaml"'
OUR_LDFLAGS = $(SANITIZE) -Wl,-z,relro,-z,now -Wl,--as-needed

COMPILE = $(CC) $(OUR_CFLAGS) $(CPPFLAGS) $(CFLAGS)
LINK    = $(CC) $(OUR_LDFLAGS) $(CFLAGS) $(LDFLAGS)
Q       = $(if $(V),,@)

# --- what there is ----------------------------------------------------------------------------

MAINS       = daemon/main.c daemon/usherctl.c worker/main.c tests/load/usher_load.c
PUBLIC      = $(wildcard common/net/net.h common/cluster/cluster.h)
COMMON_SRC  = $(wildcard common/*.c common/*/*.c)
DAEMON_SRC  = $(filter-out $(MAINS),$(wildcard daemon/*.c))
WORKER_SRC  = $(filter-out $(MAINS),$(wildcard worker/*.c worker/*/*.c))
FAKES       = $(wildcard tests/helpers/fake_*.c tests/interop/*.c tests/cluster/*.c tests/bench/*.c)
HELPER_SRC  = $(filter-out $(FAKES),$(wildcard tests/helpers/*.c))
UNIT        = $(wildcard tests/unit/test_*.c)
INTEGRATION = $(wildcard tests/integration/test_*.c)
EXAMPLES    = $(wildcard tests/examples/*.c)
FUZZ        = $(wildcard tests/fuzz/fuzz_*.c)
LIMITS      = $(wildcard tests/load/limit_*.c)
LOAD_SRC    = $(filter-out $(MAINS) $(LIMITS),$(wildcard tests/load/*.c))
SCRIPTS     = $(wildcard tests/*.sh tests/*/*.sh .ci/run)
MANUALS     = $(wildcard daemon/*.[1-8] worker/*.[1-8] common/*.[1-8] common/*/*.[1-8] conf/*.[1-8] tests/load/*.[1-8])
C_FILES     = $(foreach top,common daemon worker tests,$(wildcard $(top)/*.[ch] $(top)/*/*.[ch]))

obj = $(1:%.c=$(BUILD)/%.o)
exe = $(1:%.c=$(BUILD)/%)

PROGRAMS = $(addprefix $(BUILD)/,usherd usher-worker usherctl usher-load)
UNITS    = $(wildcard systemd/*.service systemd/*.socket)
LIBRARY  = $(BUILD)/libusher.so $(BUILD)/libusher.a
ALL_OBJ  = $(call obj,$(COMMON_SRC) $(DAEMON_SRC) $(WORKER_SRC) $(MAINS) $(HELPER_SRC) $(FAKES) \
	$(UNIT) $(INTEGRATION) $(EXAMPLES) $(FUZZ) $(LOAD_SRC) $(LIMITS))

# --- targets ----------------------------------------------------------------------------------

all: programs library units ## build the programs and the library (the default)
programs: $(PROGRAMS)
library: $(LIBRARY) $(BUILD)/usher.pc
units: $(addprefix $(BUILD)/,$(notdir $(UNITS)))
tests: $(call exe,$(UNIT) $(INTEGRATION) $(EXAMPLES) $(FAKES) $(LIMITS))

# As many jobs as there are processors, unless the user has said how many.
AGAIN = $(MAKE) --no-print-directory $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))

run: deps ## install what is missing, build, and run usherd with conf/usher.yaml
	+@$(AGAIN) programs
	@exec env XDG_RUNTIME_DIR="$${XDG_RUNTIME_DIR:-$(CURDIR)/$(BUILD)}" \
		$(BUILD)/usherd -c conf/usher.yaml

check: deps-check ## install what is missing, build, and run every test
	+@$(AGAIN) all tests
	@tests/run.sh $(BUILD)

deps: ## install the Debian packages that are missing to build and run
	@tests/deps.sh $(BUILD_PACKAGES)
deps-%:
	@tests/deps.sh $(BUILD_PACKAGES) $($*_PACKAGES)

SANITIZERS = -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
sanitize: deps-sanitize ## run every test under AddressSanitizer and UndefinedBehaviorSanitizer
	+@$(AGAIN) all tests BUILD=$(BUILD)/sanitize SANITIZE="$(SANITIZERS)"
	@tests/run.sh $(BUILD)/sanitize

valgrind: deps-valgrind ## run the unit tests under valgrind
	+@$(AGAIN) all tests
	@tests/run.sh --valgrind $(BUILD)

conformance: deps-check ## show by which test each requirement is shown, and what has none
	+@$(AGAIN) all tests
	@tests/conformance/run.sh $(BUILD)

compare: deps-check ## show what the same clients meet at a cluster of Node.js and at usher
	+@$(AGAIN) all tests
	@USHER_BUILD=$(BUILD) node tests/cluster/compare.js

FUZZ_SECONDS ?= 60
fuzz: deps-fuzz ## fuzz each parser of outside bytes for FUZZ_SECONDS (60) with libFuzzer
	+@$(AGAIN) fuzz-build BUILD=$(BUILD)/fuzz CC=clang \
		SANITIZE="$(SANITIZERS) -fsanitize=fuzzer-no-link"
	@tests/fuzz/run.sh $(BUILD)/fuzz $(FUZZ_SECONDS)
fuzz-build: $(call exe,$(FUZZ))

bench: deps-bench ## measure usher beside its peers; BENCH_ROUNDS (5), BENCH_SECONDS (1)
	@$(AGAIN) programs $(call exe,$(LIMITS))
	@tests/load/bench.sh $(BUILD)

bench-scaling: deps-bench ## measure what usher costs as it grows; SCALING_ROUNDS (3), SCALING_SECONDS (1)
	@$(AGAIN) programs
	@tests/load/scaling.sh $(BUILD)

bench-net: deps-bench-net ## measure what a connection of the library costs
	+@$(AGAIN) $(BUILD)/tests/bench/net_cost
	@tests/bench/net_cost.sh $(BUILD)

format: ## lay out the code as .clang-format says
	clang-format -i $(C_FILES)

lint: deps-lint ## check the sources: clang-format, clang-tidy, cppcheck, mandoc, shellcheck
	+@$(AGAIN) -s public-headers
	@tests/lint.sh "$(C_FILES)" "$(MANUALS)" "$(SCRIPTS)" $(filter -std% -I% -D%,$(OUR_CFLAGS))

# What goes where: MODE SOURCE DESTINATION.
INSTALLED = \
	0755:$(BUILD)/usherd:$(SBINDIR)/usherd \
	0755:$(BUILD)/usherctl:$(BINDIR)/usherctl \
	0755:$(BUILD)/usher-load:$(BINDIR)/usher-load \
	0755:$(BUILD)/usher-worker:$(LIBEXECDIR)/usher-worker \
	0755:$(BUILD)/libusher.so.$(SOVERSION):$(LIBDIR)/libusher.so.$(SOVERSION) \
	0644:$(BUILD)/libusher.a:$(LIBDIR)/libusher.a \
	0644:$(BUILD)/usher.pc:$(LIBDIR)/pkgconfig/usher.pc \
	$(foreach header,$(PUBLIC),0644:$(header):$(INCLUDEDIR)/usher/$(notdir $(header))) \
	$(foreach page,$(MANUALS),0644:$(page):$(MANDIR)/man$(subst .,,$(suffix $(page)))/$(notdir $(page))) \
	$(foreach unit,$(UNITS),0644:$(BUILD)/$(notdir $(unit)):$(UNITDIR)/$(notdir $(unit))) \
	0644:systemd/sysusers.conf:$(LIBDIR)/sysusers.d/usher.conf \
	0644:systemd/tmpfiles.conf:$(LIBDIR)/tmpfiles.d/usher.conf \
	0644:conf/usher.yaml:$(DOCDIR)/examples/usher.yaml \
	$(foreach example,$(EXAMPLES),0644:$(example):$(DOCDIR)/examples/$(notdir $(example))) \
	0644:README.md:$(DOCDIR)/README.md \
	0644:LICENSE:$(DOCDIR)/LICENSE

# net_socket_write(3) is the page that has it in its synopsis: NAME:PAGE.
page_links = $(foreach name,$(shell sed -n 's/^\.Fo \(\(net\|cluster\)_[a-z0-9_]*\)$$/\1/p' $(1)),$(name):$(notdir $(1)))
PAGE_LINKS = $(foreach page,$(filter %.3,$(MANUALS)),$(call page_links,$(page)))

install: all ## put everything in its place below DESTDIR and PREFIX
	@set -e; for entry in $(INSTALLED); do \
		mode=$${entry%%:*} rest=$${entry#*:}; \
		install -D -m "$$mode" "$${rest%%:*}" "$(DESTDIR)$${rest#*:}"; \
	done
	@ln -sf libusher.so.$(SOVERSION) "$(DESTDIR)$(LIBDIR)/libusher.so"
	@for link in $(PAGE_LINKS); do \
		ln -sf "$${link#*:}" "$(DESTDIR)$(MANDIR)/man3/$${link%:*}.3"; \
	done
	@test -e "$(DESTDIR)$(SYSCONFDIR)/usher/usher.yaml" || \
		install -D -m 0644 conf/usher.yaml "$(DESTDIR)$(SYSCONFDIR)/usher/usher.yaml"
	@test -n "$(DESTDIR)" -o "$$(id -u)" -ne 0 || ldconfig

OWN_FOLDERS = $(INCLUDEDIR)/usher $(LIBEXECDIR) $(DOCDIR)/examples $(DOCDIR)
uninstall: ## remove what install put there, except what is in /etc/usher
	@set -e; for entry in $(INSTALLED); do rm -f "$(DESTDIR)$${entry##*:}"; done
	@rm -f "$(DESTDIR)$(LIBDIR)/libusher.so"
	@for link in $(PAGE_LINKS); do rm -f "$(DESTDIR)$(MANDIR)/man3/$${link%:*}.3"; done
	@for folder in $(OWN_FOLDERS); do \
		test ! -d "$(DESTDIR)$$folder" || rmdir --ignore-fail-on-non-empty "$(DESTDIR)$$folder"; \
	done

dist: ## a source archive of the last commit in build/
	@mkdir -p $(BUILD)
	git archive --prefix=usher-$(VERSION)/ -o $(BUILD)/usher-$(VERSION).tar.gz HEAD

clean: ## remove build/
	rm -rf $(BUILD)

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 16
	@sed -n '/^# Yours/,/^$$/s/^# //p' $(MAKEFILE_LIST)

.PHONY: all programs library units tests run check conformance compare deps sanitize valgrind fuzz \
	fuzz-build bench bench-scaling bench-net format lint public-headers install uninstall dist clean help always
.DELETE_ON_ERROR:

# --- how it is built --------------------------------------------------------------------------

# A stamp is touched when its text changes: the flags that objects are made with, and the names
# of the objects that archives are made of (a removed source leaves no newer file behind).
FLAGS_STAMP = $(BUILD)/.flags
NAMES_STAMP = $(BUILD)/.names
FLAGS_TEXT  = $(COMPILE) $(LINK) $(LIBS) $(BINDIR) $(SBINDIR) $(LIBDIR) $(INCLUDEDIR)
NAMES_TEXT  = $(COMMON_SRC) $(DAEMON_SRC) $(WORKER_SRC) $(LOAD_SRC) $(HELPER_SRC)
quoted = '$(subst ','\'',$(1))'
define write_stamp
	@mkdir -p $(@D)
	@echo $(call quoted,$(1)) | cmp -s - $@ || { $(2) echo $(call quoted,$(1)) >$@; }
endef
LIBRARY_HEADERS = ev.h yaml.h jansson.h
TRY_HEADERS = printf '\#include <%s>\n' $(LIBRARY_HEADERS) | \
	$(CC) $(LIB_CFLAGS) $(CPPFLAGS) $(CFLAGS) -x c -E -o /dev/null - || \
	{ echo "$(CC) or one of $(LIBRARY_HEADERS) is missing; try: make deps" >&2; exit 1; };
$(FLAGS_STAMP): always
	$(call write_stamp,$(FLAGS_TEXT),$(TRY_HEADERS))
$(NAMES_STAMP): always
	$(call write_stamp,$(NAMES_TEXT))

# <usher/net.h> is one file in the tree, in build/include and where it is installed.
public_copy = $(BUILD)/include/usher/$(notdir $(1))
define copy_public
$(call public_copy,$(1)): $(1)
	@mkdir -p $$(@D) && cp $$< $$@
endef
$(foreach header,$(PUBLIC),$(eval $(call copy_public,$(header))))
public-headers: $(foreach header,$(PUBLIC),$(call public_copy,$(header)))

$(BUILD)/%.o: %.c $(FLAGS_STAMP) | public-headers
	@mkdir -p $(@D)
	@$(if $(V),,echo "  CC    $<")
	$(Q)$(COMPILE) -c -o $@ $<

$(BUILD)/common.a: $(call obj,$(COMMON_SRC))
$(BUILD)/daemon.a: $(call obj,$(DAEMON_SRC))
$(BUILD)/worker.a: $(call obj,$(WORKER_SRC))
$(BUILD)/load.a: $(call obj,$(LOAD_SRC))
$(BUILD)/helpers.a: $(call obj,$(HELPER_SRC))
ARCHIVES = $(addprefix $(BUILD)/,common.a daemon.a worker.a load.a helpers.a)
$(ARCHIVES): $(NAMES_STAMP)
	@$(if $(V),,echo "  AR    $@")
	$(Q)rm -f $@ && $(AR) rcs $@ $(filter %.o,$^)

$(BUILD)/usherd: $(BUILD)/daemon/main.o $(BUILD)/daemon.a $(BUILD)/common.a
$(BUILD)/usherctl: $(BUILD)/daemon/usherctl.o $(BUILD)/daemon.a $(BUILD)/common.a
$(BUILD)/usher-worker: $(BUILD)/worker/main.o $(BUILD)/worker.a $(BUILD)/common.a
$(BUILD)/usher-load: $(BUILD)/tests/load/usher_load.o $(BUILD)/load.a $(BUILD)/common.a
# Only libev calls it, which comes too late to have it taken out of the archive.
$(BUILD)/usher-worker: private OUR_LDFLAGS += -Wl,--undefined=epoll_wait
$(PROGRAMS):
	@$(if $(V),,echo "  LINK  $@")
	$(Q)$(LINK) -pie -o $@ $^ $(LIBS)

# The library holds common/ alone; what it shows is what the symbol map lists.
SYMBOL_MAP = common/libusher.map
$(BUILD)/libusher.so.$(SOVERSION): $(call obj,$(COMMON_SRC)) $(SYMBOL_MAP) $(NAMES_STAMP)
	@$(if $(V),,echo "  LINK  $@")
	$(Q)$(LINK) -shared -Wl,-soname,$(@F) -Wl,--version-script=$(SYMBOL_MAP) -Wl,-z,defs -o $@ \
		$(filter %.o,$^) $(EV_LIBS)
$(BUILD)/libusher.so: $(BUILD)/libusher.so.$(SOVERSION)
	@ln -sf $(<F) $@
$(BUILD)/libusher.a: $(BUILD)/common.a
	@cp $< $@
$(BUILD)/usher.pc: common/usher.pc.in $(FLAGS_STAMP)
	@sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(LIBDIR)|' -e 's|@INCLUDEDIR@|$(INCLUDEDIR)|' \
		-e 's|@VERSION@|$(VERSION)|' $< >$@

# Units name the installed programs by their full paths.
$(addprefix $(BUILD)/,$(notdir $(UNITS))): $(BUILD)/%: systemd/% $(FLAGS_STAMP)
	@sed -e 's|@SBINDIR@|$(SBINDIR)|g' -e 's|@BINDIR@|$(BINDIR)|g' \
		-e 's|@SYSCONFDIR@|$(SYSCONFDIR)|g' $< >$@

# A test names the calls that it fakes in a comment "wrap: accept4 malloc".
wraps = $(foreach call,$(shell sed -n 's/.*[^a-z]wrap: \([a-z0-9_ ]*\).*/\1/p' $(1)),-Wl,--wrap=$(call))
TEST_LIBS = $(addprefix $(BUILD)/,helpers.a daemon.a worker.a load.a common.a)

$(call exe,$(UNIT) $(INTEGRATION)): $(BUILD)/%: $(BUILD)/%.o $(TEST_LIBS)
	@$(if $(V),,echo "  LINK  $@")
	$(Q)$(LINK) -pie -o $@ $(call wraps,$*.c) $^ $(CMOCKA_LIBS) $(LIBS)
$(call exe,$(EXAMPLES)): $(BUILD)/%: $(BUILD)/%.o $(BUILD)/libusher.so
	@$(if $(V),,echo "  LINK  $@")
	$(Q)$(LINK) -pie -o $@ $< -L$(BUILD) -lusher $(EV_LIBS) -Wl,-rpath,'$$ORIGIN/../..'
# usherd, and before it the clocks that it asks.
$(BUILD)/tests/helpers/fake_usherd: $(BUILD)/daemon/main.o $(BUILD)/daemon.a
$(call exe,$(FAKES)): $(BUILD)/%: $(BUILD)/%.o $(BUILD)/worker.a $(BUILD)/common.a
$(call exe,$(LIMITS)): $(BUILD)/%: $(BUILD)/%.o $(BUILD)/load.a $(BUILD)/common.a
$(call exe,$(FAKES) $(LIMITS)):
	@$(if $(V),,echo "  LINK  $@")
	$(Q)$(LINK) -pie -o $@ $^ $(LIBS)
$(call exe,$(FUZZ)): $(BUILD)/%: $(BUILD)/%.o $(TEST_LIBS)
	@$(if $(V),,echo "  LINK  $@")
	$(Q)$(LINK) -fsanitize=fuzzer -o $@ $^ $(LIBS)

-include $(ALL_OBJ:.o=.d)
