/* The loop over bars where nobody but the strategy looks at them.
 *
 * Belongs here: moving the clocks, finding out whether the broker has work, calling `next`. Does not belong here: what
 * happens at a bar where the broker has work (the callable `busy`).
 *
 * The reference is cerebro._Run._quick and _quick_apart.
 */

#include "native.h"

enum part { CEREBRO, BROKER, STRATEGY, OWN, FOLLOWING, TIMES, BAR, NOW, ADD_TIME, DUE, WORK, MOVES, BUSY, PARTS };

typedef struct {
    PyObject_HEAD
    PyObject *part[PARTS];
} Loop;

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
    static char *names[] = {"cerebro", "broker",   "strategy", "own",  "following", "times", "bar",
                            "now",     "add_time", "due",      "work", "moves",     "busy",  NULL};
    PyObject *given[PARTS];
    if (!PyArg_ParseTupleAndKeywords(
            args, keywords, "$OOOO!OOO!O!OO!O!O!O:Loop", names, &given[CEREBRO], &given[BROKER], &given[STRATEGY],
            &PyDict_Type, &given[OWN], &given[FOLLOWING], &given[TIMES], &PyList_Type, &given[BAR], &PyList_Type,
            &given[NOW], &given[ADD_TIME], &PyList_Type, &given[DUE], &PyTuple_Type, &given[WORK], &PyTuple_Type,
            &given[MOVES], &given[BUSY]))
        return -1;
    for (int number = 0; number < PARTS; number++)
        Py_XSETREF(self->part[number], Py_NewRef(given[number]));
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

/* Feeds with times of their own move to their bars, and the indicators on them. */
static int
move_apart(PyObject *moves, Py_ssize_t step)
{
    for (Py_ssize_t number = 0; number < PyTuple_GET_SIZE(moves); number++) {
        PyObject *move = PyTuple_GET_ITEM(moves, number); /* early clock, late clock, bars */
        PyObject *bar = PyList_GetItem(PyTuple_GET_ITEM(move, 2), step);
        if (bar == NULL || clock_set(PyTuple_GET_ITEM(move, 0), bar) || clock_set(PyTuple_GET_ITEM(move, 1), bar))
            return -1;
    }
    return 0;
}

static int
move_clocks(Loop *self, Py_ssize_t step)
{
    if (move_apart(self->part[MOVES], step))
        return -1;
    PyObject *number = PyLong_FromSsize_t(step);
    if (number == NULL)
        return -1;
    int failed = clock_set(self->part[BAR], number) || clock_set(self->part[NOW], number);
    Py_DECREF(number);
    return failed ? -1 : 0;
}

static int
add_time(Loop *self, Py_ssize_t step)
{
    PyObject *time = PySequence_GetItem(self->part[TIMES], step);
    if (time == NULL)
        return -1;
    PyObject *done = PyObject_CallOneArg(self->part[ADD_TIME], time);
    Py_DECREF(time);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* The strategy's turn; it may have put another method in the place of its `next`. */
static int
call_next(Loop *self)
{
    int replaced = PyDict_Contains(self->part[OWN], name_next);
    if (replaced < 0)
        return -1;
    PyObject *done = replaced ? PyObject_CallMethodNoArgs(self->part[STRATEGY], name_next)
                              : PyObject_CallNoArgs(self->part[FOLLOWING]);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* Whether the run is to stop after the present bar. */
static int
is_stopped(Loop *self)
{
    PyObject *stop = PyObject_GetAttr(self->part[CEREBRO], name_event_stop);
    if (stop == NULL)
        return -1;
    int stopped = PyObject_IsTrue(stop);
    Py_DECREF(stop);
    return stopped;
}

/* A bar at which the broker is left out; 1 when the run is to stop. */
static int
quiet_bar(Loop *self, Py_ssize_t step)
{
    if (move_clocks(self, step) || PyObject_SetAttr(self->part[BROKER], name_stale, Py_True) || add_time(self, step) ||
        call_next(self))
        return -1;
    return is_stopped(self);
}

/* A bar at which it is not; 1 when the run is to stop. */
static int
busy_bar(Loop *self, Py_ssize_t step)
{
    PyObject *number = PyLong_FromSsize_t(step);
    if (number == NULL)
        return -1;
    PyObject *done = PyObject_CallOneArg(self->part[BUSY], number);
    Py_DECREF(number);
    if (done == NULL)
        return -1;
    Py_DECREF(done);
    return is_stopped(self);
}

PyDoc_STRVAR(bars_doc, "bars(first, count)\n--\n\nRun the bars from `first` up to `count`.\n\n"
                       "Returns the last step, and whether the run was stopped at it while the broker was left out.");

static PyObject *
loop_bars(Loop *self, PyObject *args)
{
    Py_ssize_t step, count;
    if (!PyArg_ParseTuple(args, "nn:bars", &step, &count))
        return NULL;
    for (; step < count; step++) {
        int busy = has_work(self->part[WORK]);
        Py_ssize_t due = busy ? step : clock_read(self->part[DUE]);
        if (busy < 0 || PyErr_Occurred())
            return NULL;
        busy = busy || due <= step;
        int stopped = busy ? busy_bar(self, step) : quiet_bar(self, step);
        if (stopped < 0)
            return NULL;
        if (stopped)
            return Py_BuildValue("nO", step, busy ? Py_False : Py_True);
    }
    return Py_BuildValue("nO", count - 1, Py_False);
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
