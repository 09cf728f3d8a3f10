# encrypt: see README.md. `make` builds build/encrypt; `make help` lists the rest.
#
#   VARIANT=asan   the same, with AddressSanitizer and UBSan, in build-asan/
#   CC=clang       another compiler

, := ,
VARIANT ?= plain
B := $(if $(filter plain,$(VARIANT)),build,build-$(VARIANT))
CACHE := $(or $(ENCRYPT_CACHE),/var/cache/encrypt)
LIBSSH2_VERSION := 1.11.1
LIBSSH2 := $(CACHE)/libssh2-$(LIBSSH2_VERSION)

ifeq ($(origin CC),default)
CC := gcc
endif
OPT := $(if $(filter asan,$(VARIANT)),-O1 -g -fsanitize=address$(,)undefined -fno-sanitize-recover=all -fno-omit-frame-pointer,-O2 -g)
HARDEN := -fstack-protector-strong -fPIC $(if $(filter asan,$(VARIANT)),,-D_FORTIFY_SOURCE=2)
WARN := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla -Werror
PACKAGES := libcurl jansson yaml-0.1 libcrypto
CFLAGS := -std=c17 -D_GNU_SOURCE -I. $(WARN) $(OPT) $(HARDEN) -fvisibility=hidden \
          -isystem $(LIBSSH2)/include $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null) $(EXTRA_CFLAGS)
LDFLAGS := $(if $(filter asan,$(VARIANT)),-fsanitize=address$(,)undefined) -pie -Wl,-z,relro,-z,now -Wl,--as-needed
# The static libssh2 stays hidden: Debian's libcurl loads its own libssh2.so.1.
LDLIBS := $(B)/libyaml.a $(LIBSSH2)/lib/libssh2.a -Wl,--exclude-libs,libssh2.a:libyaml.a $(shell pkg-config --libs $(filter-out yaml-0.1,$(PACKAGES)) 2>/dev/null)

AREAS := provisioner state templates base
sources = $(sort $(shell find $(1) -name '*.c' 2>/dev/null))
objects = $(patsubst %.c,$(B)/%.o,$(call sources,$(1)))
ARCHIVES := $(AREAS:%=$(B)/lib%.a)
# Arrows run down only: the tests of an area link with it and with what lies below.
BELOW_base := base
BELOW_templates := templates base
BELOW_state := state templates base
BELOW_provisioner := provisioner state templates base
BELOW_cmd := cmd provisioner state templates base
archives_of = $(foreach a,$(BELOW_$(1)),$(B)/lib$(a).a)

.DELETE_ON_ERROR:
.PHONY: all help deps units unit model check check-crash check-faults demo bench tidy format format-check clean
all: $(B)/encrypt library $(B)/encrypt-shared

include tools/library.mk

$(B)/encrypt: $(call objects,cmd) $(ARCHIVES)
	@echo LD $@
	@$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

define AREA_rules
$(B)/lib$(1).a: $(call objects,$(1))
	@rm -f $$@ && $(AR) rcs $$@ $$^
endef
$(foreach a,$(AREAS),$(eval $(call AREA_rules,$(a))))
# For its tests alone.
$(B)/libcmd.a: $(filter-out $(B)/cmd/main.o,$(call objects,cmd))
	@rm -f $@ && $(AR) rcs $@ $^

$(B)/%.o: %.c | $(LIBSSH2)/lib/libssh2.a
	@mkdir -p $(@D)
	@echo CC $<
	@$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

$(LIBSSH2)/lib/libssh2.a:
	tools/build-libssh2 $(LIBSSH2_VERSION)

# Unit tests: one program per file, tests/unit/<area>/test_*.c
UNIT_SOURCES := $(call sources,tests/unit)
UNIT := $(patsubst %.c,$(B)/%,$(UNIT_SOURCES))
define UNIT_rules
$(B)/tests/unit/$(1)/%: tests/unit/$(1)/%.c $(call archives_of,$(1))
	@mkdir -p $$(@D)
	@echo CC $$<
	@$(CC) $(CFLAGS) -MMD -MP -o $$@ $$< $(call archives_of,$(1)) $(LDFLAGS) $(LDLIBS) -lcmocka
endef
$(foreach a,$(AREAS) cmd,$(eval $(call UNIT_rules,$(a))))

units: $(UNIT) $(B)/tests/model/model
unit: $(UNIT)
	tests/run-unit $(UNIT)

$(B)/tests/model/model: $(call objects,tests/model) $(call archives_of,provisioner)
	@echo LD $@
	@$(CC) $(LDFLAGS) -o $@ $(call objects,tests/model) $(call archives_of,provisioner) $(LDLIBS)

model: $(B)/tests/model/model
	$<

# Everything that is tested, and the main job on a real local cluster. Both install what they need.
check:
	tests/check
# TABLE: the file that each kill is added to
check-crash: $(B)/encrypt
	tests/install-deps
	ENCRYPT=$(B)/encrypt tests/flow/crash --campaign $(if $(TABLE),--table $(TABLE))
# Every fault in every step (25 minutes); `make check` runs the first of them.
check-faults:
	tests/install-deps
	tests/flow/faults --all
demo:
	tests/demo
bench:
	tests/install-deps
	tests/bench/run
deps:
	tests/install-deps

help:
	@echo 'make            build/encrypt'
	@echo 'make install    program, kubectl-encrypt, library, man page, docs (prefix, libdir, DESTDIR, ...); make uninstall'
	@echo 'make demo       the main job on a real three-node cluster on this machine (root)'
	@echo 'make check      all tests (root)'
	@echo 'make check-crash kill -9 at 220 system calls of enabling, rotating and disabling (root, an hour)'
	@echo 'make check-faults  faults in each step of a transition: nodes, networks, disks, daemons, signals (root, 25 minutes)'
	@echo 'make bench      how fast secrets are rewritten and proved, against kubectl (root, 5 minutes)'
	@echo 'make unit       unit tests alone; make model: the planner'"'"'s model'
	@echo 'make tidy       clang-tidy; make format: clang-format'
	@echo 'VARIANT=asan    with AddressSanitizer and UBSan, in build-asan/'

ALL_C := $(call sources,base cmd provisioner state templates tests examples)
ALL_H := $(sort $(shell find base cmd provisioner state templates tests examples -name '*.h' 2>/dev/null))
tidy:
	clang-tidy --quiet $(ALL_C) -- $(filter-out -Werror,$(CFLAGS)) -Iprovisioner
format:
	clang-format -i $(ALL_C) $(ALL_H)
format-check:
	@clang-format --dry-run -Werror $(ALL_C) $(ALL_H)

clean:
	rm -rf build build-asan build-clang build-fuzz

-include $(shell find $(B) -name '*.d' 2>/dev/null)
