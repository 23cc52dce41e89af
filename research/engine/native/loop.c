/* The loop over bars where nobody but the strategy looks at them.
 *
 * Belongs here: moving the clocks, finding out whether the broker has work, telling the strategy what became of its
 * orders, calling `next`. Does not belong here: what happens to orders and trades (see matching.c, trades.c).
 *
 * The reference is cerebro._Run._quick, _quick_apart and _busy.
 */

#include "orders.h"

enum part {
    RUN,       /* the run itself, for what it does in Python */
    CEREBRO,
    BROKER,
    STRATEGY,
    OWN,       /* the strategy's attributes */
    FOLLOWING, /* its `next` */
    TIMES,
    BAR,       /* the clock that moves first */
    NOW,       /* the one that moves last */
    ADD_TIME,
    DUE,
    WORK,
    MOVES,     /* of each feed with times of its own: its clocks and its bar at each step */
    NEWS,      /* the broker's queue; None where it has to be asked */
    SETTLE,    /* called before the broker works again: what it was left out of */
    OWN_BROKER,/* whether the broker works in the ways of FastBroker */
    TELL,      /* how others than the strategy are told of orders; None where there are none */
    LOOKS,     /* what `next` only looks at; None where that is not known */
    PARTS
};

typedef struct {
    PyObject_HEAD
    PyObject *part[PARTS];
    PyObject *broker_own, *cerebro_own; /* borrowed: their attributes, where nothing but a dictionary keeps these two */
    PyObject *own_times;                /* borrowed: the array that ADD_TIME appends to, NULL where it is no array */
    int looked;                         /* whether the strategy has only looked at the present bar */
} Loop;

/* The dictionary that keeps an attribute of an object, if a class has no say in it; borrowed, NULL without an error. */
static PyObject *
kept_plainly(PyObject *object, PyObject *name)
{
    PyTypeObject *type = Py_TYPE(object);
    PyObject *of_class = PyObject_GetAttr((PyObject *)type, name), **own = _PyObject_GetDictPtr(object);
    int plain = of_class == NULL || Py_TYPE(of_class)->tp_descr_get == NULL;
    PyErr_Clear();
    Py_XDECREF(of_class);
    plain = plain && type->tp_setattro == PyObject_GenericSetAttr && own != NULL && *own != NULL;
    return plain ? *own : NULL;
}

static int
loop_traverse(Loop *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    for (int number = 0; number < PARTS; number++)
        Py_VISIT(self->part[number]);
    return 0;
}

static int
loop_clear(Loop *self)
{
    for (int number = 0; number < PARTS; number++)
        Py_CLEAR(self->part[number]);
    return 0;
}

static void
loop_dealloc(Loop *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    loop_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static int
loop_init(Loop *self, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"run",   "cerebro", "broker",   "strategy", "own",  "following", "times", "bar",
                            "now",   "add_time", "due",     "work",     "moves", "news",     "settle", "own_broker",
                            "tell",  "looks",    NULL};
    PyObject *given[PARTS];
    if (!PyArg_ParseTupleAndKeywords(
            args, keywords, "$OOOOO!OOO!O!OO!O!O!OOOOO:Loop", names, &given[RUN], &given[CEREBRO], &given[BROKER],
            &given[STRATEGY], &PyDict_Type, &given[OWN], &given[FOLLOWING], &given[TIMES], &PyList_Type, &given[BAR],
            &PyList_Type, &given[NOW], &given[ADD_TIME], &PyList_Type, &given[DUE], &PyTuple_Type, &given[WORK],
            &PyTuple_Type, &given[MOVES], &given[NEWS], &given[SETTLE],
            &given[OWN_BROKER], &given[TELL], &given[LOOKS]))
        return -1;
    if (given[LOOKS] != Py_None && !is_looks(given[LOOKS])) {
        PyErr_SetString(PyExc_TypeError, "looks: neither a program nor None");
        return -1;
    }
    for (int number = 0; number < PARTS; number++)
        Py_XSETREF(self->part[number], Py_NewRef(given[number]));
    self->broker_own = kept_plainly(given[BROKER], name_stale);
    self->cerebro_own = kept_plainly(given[CEREBRO], name_event_stop);
    PyObject *times = PyCFunction_Check(given[ADD_TIME]) ? PyCFunction_GET_SELF(given[ADD_TIME]) : NULL;
    self->own_times = times != NULL && Py_IS_TYPE(times, array_type) ? times : NULL;
    return 0;
}

/* Whether a container of the broker's holds anything. */
static int
has_work(PyObject *work)
{
    for (Py_ssize_t number = 0; number < PyTuple_GET_SIZE(work); number++) {
        Py_ssize_t size = PyObject_Size(PyTuple_GET_ITEM(work, number));
        if (size)
            return size < 0 ? -1 : 1;
    }
    return 0;
}

/* Feeds with times of their own move to their bars (clock 0), or the indicators on them do (clock 1). */
static int
move_apart(PyObject *moves, Py_ssize_t step, int clock)
{
    for (Py_ssize_t number = 0; number < PyTuple_GET_SIZE(moves); number++) {
        PyObject *move = PyTuple_GET_ITEM(moves, number);
        PyObject *bar = PyList_GetItem(PyTuple_GET_ITEM(move, 2), step);
        if (bar == NULL || clock_set(PyTuple_GET_ITEM(move, clock), bar))
            return -1;
    }
    return 0;
}

/* The feeds move. */
static int
begin_bar(Loop *self, Py_ssize_t step, PyObject *number)
{
    return move_apart(self->part[MOVES], step, 0) || clock_set(self->part[BAR], number) ? -1 : 0;
}

static int
add_time(Loop *self, Py_ssize_t step)
{
    PyObject *times = self->part[TIMES];
    if (self->own_times != NULL && is_doubles(times) && step < Py_SIZE(times) &&
        append_double(self->own_times, doubles_of(times)[step]))
        return 0;
    PyObject *time = PySequence_GetItem(times, step);
    if (time == NULL)
        return -1;
    PyObject *done = PyObject_CallOneArg(self->part[ADD_TIME], time);
    Py_DECREF(time);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* The indicators move, then the strategy, whose line of times is one value longer from now on. */
static int
arrive(Loop *self, Py_ssize_t step, PyObject *number)
{
    if (move_apart(self->part[MOVES], step, 1) || clock_set(self->part[NOW], number))
        return -1;
    return add_time(self, step);
}

/* Whether the strategy would only look at the present bar. */
static int
looks_only(Loop *self)
{
    PyObject *looks = self->part[LOOKS], *following = self->part[FOLLOWING];
    PyObject *together = PyTuple_GET_SIZE(self->part[MOVES]) ? NULL : self->part[BAR];
    self->looked = looks != Py_None && PyMethod_Check(following) &&
                   only_looks(looks, following, self->part[STRATEGY], together, self->part[NOW]);
    return self->looked;
}

/* The strategy's turn; it may have put another method in the place of its `next`. */
static int
call_next(Loop *self)
{
    int replaced = PyDict_Contains(self->part[OWN], name_next);
    if (replaced < 0)
        return -1;
    PyObject *following = self->part[FOLLOWING], *done;
    if (!replaced && looks_only(self))
        return 0;
    if (replaced)
        done = PyObject_CallMethodNoArgs(self->part[STRATEGY], name_next);
    else if (PyMethod_Check(following))
        done = PyObject_CallOneArg(PyMethod_GET_FUNCTION(following), PyMethod_GET_SELF(following));
    else
        done = PyObject_CallNoArgs(following);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* Whether the run is to stop after the present bar. */
static int
is_stopped(Loop *self)
{
    PyObject *own = self->cerebro_own, *stop = own == NULL ? NULL : found(own, name_event_stop);
    if (stop == Py_False)
        return 0;
    stop = PyObject_GetAttr(self->part[CEREBRO], name_event_stop);
    if (stop == NULL)
        return -1;
    int stopped = PyObject_IsTrue(stop);
    Py_DECREF(stop);
    return stopped;
}

/* ---------------------------------------------------------------- a bar at which the broker has work */

static int
ask(PyObject *thing, PyObject *method)
{
    PyObject *done = PyObject_CallMethodNoArgs(thing, method);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* The broker's next notification, None behind the last one; a new reference. */
static PyObject *
next_notification(Loop *self)
{
    PyObject *news = self->part[NEWS];
    if (news == Py_None)
        return PyObject_CallMethodNoArgs(self->part[BROKER], name_get_notification);
    Py_ssize_t waiting = PyObject_Size(news);
    if (waiting <= 0)
        return waiting ? NULL : Py_NewRef(Py_None);
    return take_first(news);
}

/* A notification reaches whom it concerns. */
static int
deliver(Loop *self, PyObject *order)
{
    PyObject *owner = is_plain_order(order) ? parameter_of(order, name_owner) : PyObject_GetAttr(order, name_owner);
    PyObject *strategy = self->part[STRATEGY], *done = NULL;
    int left = owner == Py_None || owner == strategy ? collect(strategy, order) : 1;
    if (left > 0)
        done = PyObject_CallMethodOneArg(self->part[RUN], name_deliver, order);
    Py_XDECREF(owner);
    Py_XDECREF(done);
    return left < 0 || (left > 0 && done == NULL) ? -1 : 0;
}

static int
deliver_all(Loop *self)
{
    PyObject *order;
    while ((order = next_notification(self)) != NULL && order != Py_None) {
        int failed = deliver(self, order);
        Py_DECREF(order);
        if (failed)
            return -1;
    }
    Py_XDECREF(order);
    return order == NULL ? -1 : 0;
}

/* Call a method of the strategy for everything in a list, also for what is added meanwhile. */
static int
tell_each(PyObject *strategy, PyObject *list, PyObject *method)
{
    for (Py_ssize_t number = 0; number < PyList_GET_SIZE(list); number++) {
        PyObject *news = Py_NewRef(PyList_GET_ITEM(list, number));
        PyObject *done = PyObject_CallMethodOneArg(strategy, method, news);
        Py_DECREF(news);
        Py_XDECREF(done);
        if (done == NULL)
            return -1;
    }
    return 0;
}

/* Whether a list holds plain orders only, none of a replayed history. */
static int
are_plain(PyObject *orders)
{
    for (Py_ssize_t number = 0; number < PyList_GET_SIZE(orders); number++) {
        PyObject *order = PyList_GET_ITEM(orders, number), *kind;
        if (!is_plain_order(order) || (kind = stored(order, name_exectype)) == NULL)
            return 0;
        Number number_of_kind = number_of(kind);
        Py_DECREF(kind);
        if (number_of_kind.kind != WHOLE || number_of_kind.whole == HISTORICAL)
            return 0;
    }
    return 1;
}

/* News.tell; the run knows that it is going on. */
static int
tell_news(Loop *self)
{
    PyObject *strategy = self->part[STRATEGY], *run = self->part[RUN];
    PyObject *orders = stored(strategy, name_orders_pending);
    PyObject *trades = orders == NULL ? NULL : stored(strategy, name_trades_pending);
    int failed = trades == NULL || !PyList_Check(orders) || !PyList_Check(trades);
    if (!failed && PyList_GET_SIZE(orders) + PyList_GET_SIZE(trades)) {
        failed = PyObject_SetAttr(run, name_telling, Py_True);
        if (!failed && self->part[TELL] == Py_None && are_plain(orders))
            failed = tell_each(strategy, orders, name_notify_order) || tell_each(strategy, trades, name_notify_trade);
        else if (!failed)
            failed = ask(run, name_tell);
        failed = failed || PyObject_SetAttr(run, name_telling, Py_False);
    }
    Py_XDECREF(orders);
    Py_XDECREF(trades);
    return failed ? -1 : 0;
}

static int
set_list(PyObject *own, PyObject *name)
{
    PyObject *list = PyList_New(0);
    int failed = list == NULL || PyDict_SetItem(own, name, list);
    Py_XDECREF(list);
    return failed ? -1 : 0;
}

/* Strategy.clear, where there is anything to clear. */
static int
clear_news(Loop *self)
{
    PyObject *own = self->part[OWN], *told = attribute(own, name_orders), *orders = attribute(own, name_orders_pending);
    PyObject *trades = told == NULL || orders == NULL ? NULL : attribute(own, name_trades_pending);
    if (trades == NULL)
        return -1;
    if (!PyList_CheckExact(told) || !PyList_CheckExact(orders) || found(own, name_clear) != NULL)
        return ask(self->part[STRATEGY], name_clear);
    if (PyList_GET_SIZE(orders) == 0)
        return PyObject_Size(trades) ? set_list(own, name_trades_pending) : 0;
    Py_ssize_t end = PyList_GET_SIZE(told);
    return PyList_SetSlice(told, end, end, orders) || set_list(own, name_orders_pending) ||
                   set_list(own, name_trades_pending)
               ? -1
               : 0;
}

/* The strategy's turn at the bar, and what follows it; 1 when the run is to stop. */
static int
act(Loop *self, int busy)
{
    if (call_next(self))
        return -1;
    int stopped = is_stopped(self);
    if (stopped > 0 && ask(self->part[RUN], name_after_stop))
        return -1;
    return stopped >= 0 && busy && clear_news(self) ? -1 : stopped;
}

/* What the broker was left out of. */
static int
settle(Loop *self)
{
    if (self->part[OWN_BROKER] == Py_True)
        return catch_up(self->part[BROKER]);
    PyObject *settled = PyObject_CallNoArgs(self->part[SETTLE]);
    Py_XDECREF(settled);
    return settled == NULL ? -1 : 0;
}

static int
work_orders(Loop *self)
{
    PyObject *broker = self->part[BROKER];
    return self->part[OWN_BROKER] == Py_True ? work_at_bar(broker) : ask(broker, name_next);
}

static int
busy_bar(Loop *self, Py_ssize_t step, PyObject *number)
{
    if (settle(self) || begin_bar(self, step, number) || work_orders(self) || deliver_all(self))
        return -1;
    int stopped = is_stopped(self);
    if (stopped)
        return stopped;
    return arrive(self, step, number) || tell_news(self) ? -1 : act(self, 1);
}

/* ---------------------------------------------------------------- all bars */

/* The values of the broker are those of an earlier bar. */
static int
make_stale(Loop *self)
{
    if (self->broker_own != NULL)
        return PyDict_SetItem(self->broker_own, name_stale, Py_True);
    return PyObject_SetAttr(self->part[BROKER], name_stale, Py_True);
}

/* A bar at which the broker is left out. */
static int
quiet_bar(Loop *self, Py_ssize_t step, PyObject *number)
{
    if (begin_bar(self, step, number) || make_stale(self) ||
        arrive(self, step, number))
        return -1;
    return act(self, 0);
}

/* Go past the bars at which the strategy would look as it did at a quiet bar, after which nothing has happened: to the
 * last of them, -1 with an error set.
 */
static Py_ssize_t
pass_over(Loop *self, Py_ssize_t step, Py_ssize_t count)
{
    Py_ssize_t due = clock_read(self->part[DUE]), stop = due < count ? due : count;
    Py_ssize_t last = still_looks(self->part[LOOKS], step + 1, stop) - 1;
    if (last == step)
        return step;
    while (step < last)
        if (add_time(self, ++step))
            return -1;
    PyObject *number = PyLong_FromSsize_t(last);
    int failed = number == NULL || clock_set(self->part[BAR], number) || clock_set(self->part[NOW], number);
    Py_XDECREF(number);
    return failed ? -1 : last;
}

/* One bar; 1 when the run is to stop after it, -1 with an error set. */
static int
one_bar(Loop *self, Py_ssize_t step)
{
    int busy = has_work(self->part[WORK]);
    Py_ssize_t due = busy ? step : clock_read(self->part[DUE]);
    if (busy < 0 || (due == -2 && PyErr_Occurred()))
        return -1;
    PyObject *number = PyLong_FromSsize_t(step);
    if (number == NULL)
        return -1;
    self->looked = 0;
    int stopped = due <= step ? busy_bar(self, step, number) : quiet_bar(self, step, number);
    Py_DECREF(number);
    self->looked = self->looked && due > step && self->cerebro_own != NULL; /* nothing has happened since */
    return stopped;
}

PyDoc_STRVAR(bars_doc, "bars(first, count)\n--\n\nRun the bars from `first` up to `count`; returns the last step.");

static PyObject *
loop_bars(Loop *self, PyObject *args)
{
    Py_ssize_t step, count;
    if (!PyArg_ParseTuple(args, "nn:bars", &step, &count))
        return NULL;
    for (; step < count; step++) {
        int stopped = one_bar(self, step);
        if (stopped)
            return stopped < 0 ? NULL : PyLong_FromSsize_t(step);
        if (self->looked && (step = pass_over(self, step, count)) < 0)
            return NULL;
    }
    return PyLong_FromSsize_t(count - 1);
}

static PyMethodDef loop_methods[] = {{"bars", (PyCFunction)loop_bars, METH_VARARGS, bars_doc}, {NULL}};

static PyType_Slot loop_slots[] = {
    {Py_tp_doc, "The loop of one run."},
    {Py_tp_init, loop_init},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_dealloc, loop_dealloc},
    {Py_tp_traverse, loop_traverse},
    {Py_tp_clear, loop_clear},
    {Py_tp_methods, loop_methods},
    {0, NULL},
};

static PyType_Spec loop_spec = {
    .name = "research.engine.native._loop.Loop",
    .basicsize = sizeof(Loop),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = loop_slots,
};

int
add_loop(PyObject *module)
{
    PyObject *type = PyType_FromSpec(&loop_spec);
    if (type == NULL)
        return -1;
    int failed = PyModule_AddType(module, (PyTypeObject *)type);
    Py_DECREF(type);
    return failed;
}
