/* An operation of the simulated world on its way, and what sim_world.c and sim_consumer.c share of
 * their answers. */
#ifndef TESTS_SIM_SIM_CALL_H
#define TESTS_SIM_SIM_CALL_H

#include "tests/sim/sim_world.h"

enum call_kind { CALL_EVENT, CALL_APPEND, CALL_ACK, CALL_GET, CALL_PLAIN };

/* Answers carry one of these. Calls of a dead process are forgotten with it. */
struct sw_call {
    struct sw_call *next, **link;
    struct world *w;
    struct sw_inst *in;
    enum call_kind kind;
    size_t ev;        /* event index, SIZE_MAX = none */
    size_t ack, cons; /* indices */
    enum append_verdict verdict;
    uint64_t value;
    enum st want;
    struct md_msg msg;
};

/* Counted as outstanding until sw_call_free. */
struct sw_call *sw_call_make(struct world *w, struct sw_inst *in, enum call_kind kind);
/* The event is durable from now on; ev SIZE_MAX: there is none. */
void sw_ack_event(struct world *w, struct sw_inst *in, size_t ev);
/* A store_done_fn; arg is a struct sw_call. */
void sw_on_done(void *arg, enum st st, uint64_t n, const struct err *err);
/* The turn ends: what consumers of a work queue or interest stream were done with goes. */
void sw_flush_all_consumed(struct world *w);

#endif
