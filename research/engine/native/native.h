/* What the sources of the module share.
 *
 * Belongs here: names, how attributes and clocks are read. Does not belong here: anything a run does.
 *
 * Every function has a counterpart in Python beside this folder, named at its head, which is the reference. Objects
 * stay Backtrader's own; what is spared is Python's frames and lookups. No function keeps anything between calls.
 */

#ifndef BARLOOM_NATIVE_H
#define BARLOOM_NATIVE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>

/* Attribute names, interned once: X(what C calls it, the name). */
#define NAMES(X)                                                                                                      \
    X(clock_now, "_clock_now") X(first_values, "_first_values") X(event_stop, "_event_stop") X(array, "array")        \
    X(size, "size") X(stale, "stale") X(next, "next") X(append, "append") X(popleft, "popleft")                       \
    X(price_mark, "_price") X(moment, "_moment") X(owner, "owner") X(data, "data") X(price, "price")                  \
    X(pricelimit, "pricelimit") X(exectype, "exectype") X(valid, "valid") X(tradeid, "tradeid") X(oco, "oco")         \
    X(trailamount, "trailamount") X(trailpercent, "trailpercent") X(parent, "parent") X(transmit, "transmit")         \
    X(simulated, "simulated") X(histnotify, "histnotify") X(params, "params") X(p, "p") X(ref, "ref")                 \
    X(broker, "broker") X(info, "info") X(comminfo, "comminfo") X(triggered, "triggered") X(active, "_active")        \
    X(status, "status") X(plimit, "_plimit") X(limitoffset, "_limitoffset") X(position, "position")                   \
    X(created, "created") X(executed, "executed") X(dteos, "dteos") X(plen, "plen") X(pannotated, "pannotated")       \
    X(pclose, "pclose") X(exbits, "exbits") X(p1, "p1") X(p2, "p2") X(dt, "dt") X(remsize, "remsize")                 \
    X(value, "value") X(comm, "comm") X(margin, "margin") X(pnl, "pnl") X(psize, "psize") X(pprice, "pprice")         \
    X(closed, "closed") X(opened, "opened") X(closedvalue, "closedvalue") X(openedvalue, "openedvalue")               \
    X(closedcomm, "closedcomm") X(openedcomm, "openedcomm") X(close, "close") X(open, "open") X(high, "high")         \
    X(low, "low") X(datetime, "datetime") X(date2num, "date2num") X(trailadjust, "trailadjust")                       \
    X(refbasis, "refbasis") X(lines, "lines") X(tz, "_tz") X(feed_name, "_name") X(pending, "pending")                \
    X(submitted, "submitted") X(notifs, "notifs") X(positions, "positions") X(cash, "_cash") X(leverage, "leverage")  \
    X(mult, "mult") X(commission, "commission") X(commtype, "_commtype") X(ocos, "_ocos") X(ocol, "_ocol")            \
    X(children, "_pchildren") X(d_credit, "d_credit") X(int2pnl, "int2pnl") X(slip_perc, "slip_perc")                 \
    X(slip_fixed, "slip_fixed") X(ococheck, "_ococheck") X(bracketize, "_bracketize") X(try_exec, "_try_exec")        \
    X(fill, "_fill") X(refuse, "_refuse") X(take_children, "_take_children") X(expire, "expire") X(notify, "notify")  \
    X(price_orig, "price_orig") X(upopened, "upopened") X(upclosed, "upclosed") X(orders_pending, "_orderspending")   \
    X(trades_pending, "_tradespending") X(orders, "_orders") X(sent_orders, "orders") X(trades, "_trades")            \
    X(compensate, "_compensate") X(isclosed, "isclosed") X(justopened, "justopened") X(isopen, "isopen")              \
    X(baropen, "baropen") X(dtopen, "dtopen") X(barclose, "barclose") X(dtclose, "dtclose") X(barlen, "barlen")       \
    X(history, "history") X(historyon, "historyon") X(is_long, "long") X(pnlcomm, "pnlcomm") X(update, "update")      \
    X(notify_order, "notify_order") X(notify_trade, "notify_trade") X(match, "_match") X(dict, "__dict__")            \
    X(telling, "_telling") X(deliver, "deliver") X(after_stop, "after_stop") X(tell, "tell") X(clear, "clear")        \
    X(get_notification, "get_notification") X(stocklike, "_stocklike") X(tradehistoryon, "_tradehistoryon")             \
    X(getattr, "__getattr__") X(broker_now, "_broker_now") X(datas, "datas") X(usual, "usual") X(native, "native")     \
    X(buy, "buy") X(sell, "sell") X(checksubmit, "checksubmit") X(getsizing, "getsizing") X(isbuy, "isbuy")            \
    X(getposition, "getposition") X(plimit_given, "plimit") X(unmarked, "_unmarked") X(confided, "_confided")           \
    X(value_now, "value_now") X(feeds, "_feeds") X(always, "_always") X(toactivate, "_toactivate") X(filler, "filler") \
    X(coc, "coc") X(coo, "coo") X(shortcash, "shortcash") X(check_submitted, "check_submitted") X(simple, "simple")    \
    X(cash_addition, "_cash_addition") X(sessionend, "sessionend") X(owner_of_line, "_owner") X(bindings, "bindings")      \
    X(l, "l") X(line, "line") X(plotinfo, "plotinfo") X(plotlines, "plotlines") X(lt, "__lt__") X(le, "__le__")        \
    X(eq, "__eq__") X(ne, "__ne__") X(gt, "__gt__") X(ge, "__ge__") X(truth, "__bool__") X(opstage, "_opstage")     \
    X(leave_none_out, "leave_none_out")

#define DECLARE(field, text) extern PyObject *name_##field;
NAMES(DECLARE)
#undef DECLARE

#define COUNT(field, text) number_of_name_##field,
enum { NAMES(COUNT) NAME_COUNT };
#undef COUNT

extern PyTypeObject *array_type; /* array.array */
extern PyTypeObject *held_type;  /* HeldTruth, of the positions of a run */

/* The attributes of an object that keeps them in a dictionary; borrowed, NULL with an error if it has none. */
static inline PyObject *
attributes(PyObject *self)
{
    PyObject **found = _PyObject_GetDictPtr(self);
    if (found == NULL || *found == NULL) {
        PyErr_Format(PyExc_AttributeError, "'%.100s' object has no attributes", Py_TYPE(self)->tp_name);
        return NULL;
    }
    return *found;
}

/* ---------------------------------------------------------------- attributes of orders and trades
 *
 * Their dictionaries share their keys, so that a name's value is always at the same place among the values. It is
 * taken from there, where a Python keeps it as shapes.c expects, without looking the name up.
 */

enum { ORDER_SHAPE, RECORD_SHAPE, TRADE_SHAPE, BIT_SHAPE, WANTED_SHAPE, SHAPES, NO_PLACE = 255 };

typedef struct {
    PyDictKeysObject *keys; /* NULL where values are not to be had */
    unsigned char places[NAME_COUNT];
} Shape;

extern Shape shapes[SHAPES];
int learn_shape(int number, PyObject *like, PyObject *names);

#if PY_VERSION_HEX < 0x030D0000
#define BEFORE_VALUES 0
#else
#define BEFORE_VALUES sizeof(PyObject *)
#endif

static inline const Shape *
shape_of(PyObject *own)
{
    PyDictObject *dict = (PyDictObject *)own;
    if (dict->ma_values != NULL)
        for (int number = 0; number < SHAPES; number++)
            if (shapes[number].keys == dict->ma_keys)
                return &shapes[number];
    return NULL;
}

/* Where the value of a name is; NULL where it has to be looked up. */
static inline PyObject **
place_in(PyObject *own, int number_of_name)
{
    const Shape *shape = shape_of(own);
    int place = shape == NULL ? NO_PLACE : shape->places[number_of_name];
    return place == NO_PLACE ? NULL : (PyObject **)((char *)((PyDictObject *)own)->ma_values + BEFORE_VALUES) + place;
}

/* One of an object's attributes; borrowed, NULL perhaps without an error. */
static inline PyObject *
found_at(PyObject *own, PyObject *name, int number_of_name)
{
    PyObject **place = place_in(own, number_of_name);
    return place != NULL && *place != NULL ? *place : PyDict_GetItemWithError(own, name);
}

/* Set an attribute; -1 with an error set. One that is there already is replaced at its place. */
static inline int
set_at(PyObject *own, PyObject *name, int number_of_name, PyObject *value)
{
    PyObject **place = place_in(own, number_of_name), *before;
    if (place == NULL || *place == NULL || value == NULL)
        return value == NULL ? -1 : PyDict_SetItem(own, name, value);
    before = *place;
    *place = Py_NewRef(value);
    Py_DECREF(before);
    if (PyType_IS_GC(Py_TYPE(value)) && !PyObject_GC_IsTracked(own))
        PyObject_GC_Track(own);
    return 0;
}

/* The same with the names of this header, whose numbers are known. */
#define found(own, name) found_at(own, name, number_of_##name)
#define set(own, name, value) set_at(own, name, number_of_##name, value)
#define attribute(own, name) attribute_at_place(own, name, number_of_##name)
#define NAMED(name) name, number_of_##name /* two arguments */

static inline PyObject *
attribute_at_place(PyObject *own, PyObject *name, int number_of_name)
{
    PyObject *value = found_at(own, name, number_of_name);
    if (value == NULL && !PyErr_Occurred())
        PyErr_SetObject(PyExc_AttributeError, name);
    return value;
}

/* An attribute that an object keeps itself, where its class has no say in it; a new reference. */
static inline PyObject *
stored(PyObject *self, PyObject *name)
{
    PyObject **own = _PyObject_GetDictPtr(self);
    PyObject *value = own == NULL || *own == NULL ? NULL : PyDict_GetItemWithError(*own, name);
    if (value != NULL)
        return Py_NewRef(value);
    return PyErr_Occurred() ? NULL : PyObject_GetAttr(self, name);
}

/* The bar that a clock, a list of one integer, stands at; -2 with an error set if it is none. */
static inline Py_ssize_t
clock_read(PyObject *clock)
{
    if (!PyList_CheckExact(clock) || PyList_GET_SIZE(clock) < 1) {
        PyErr_SetString(PyExc_TypeError, "a clock is a list of one integer");
        return -2;
    }
    return PyLong_AsSsize_t(PyList_GET_ITEM(clock, 0));
}

static inline int
clock_set(PyObject *clock, PyObject *bar)
{
    return PyList_SetItem(clock, 0, Py_NewRef(bar));
}

/* array.array as CPython lays it out in every version that the project runs on. Reading a value through the API costs
 * three calls, appending one a parser of arguments; `doubles_descr` stays NULL where the layout is another. */
typedef struct {
    PyObject_VAR_HEAD
    char *items;
    Py_ssize_t allocated;
    const void *descr; /* of the kind of its values */
    PyObject *weak_references;
    Py_ssize_t exports;
} Array;

extern const void *doubles_descr; /* of array.array('d') */

static inline int
is_doubles(PyObject *values)
{
    return Py_IS_TYPE(values, array_type) && ((Array *)values)->descr == doubles_descr;
}

static inline double *
doubles_of(PyObject *values)
{
    return (double *)((Array *)values)->items;
}

/* Append where there is room and nobody holds the memory; 0 where `array.append` has to do it. */
static inline int
append_double(PyObject *values, double value)
{
    Array *array = (Array *)values;
    Py_ssize_t size = Py_SIZE(array);
    if (!is_doubles(values) || size >= array->allocated || array->exports)
        return 0;
    doubles_of(values)[size] = value;
    Py_SET_SIZE(array, size + 1);
    return 1;
}

PyTypeObject *type_of(const char *module, const char *name);
extern PyTypeObject *deque_type;                                           /* queues.c */
int append(PyObject *queue, PyObject *thing);                              /* queues.c */
PyObject *take_first(PyObject *queue);                                     /* queues.c */
PyObject *made_under(PyObject *dict, PyObject *key, PyTypeObject *type);   /* queues.c */
double exact_sum(const double *terms, int count);                          /* exact_sums.c */
int add_queues(void);
int add_arrays(void);
PyObject *values_of(PyTypeObject *type); /* reads.c */
int counts_bars(PyTypeObject *type);     /* reads.c */
int tells_held(PyTypeObject *type);      /* reads.c */
int finds_quickly(PyTypeObject *type);   /* asking.c */
PyObject *broker_of_run(PyObject *own);  /* asking.c */
PyObject *first_feed(PyObject *own);     /* asking.c */
int is_looks(PyObject *thing); /* looks.c */
int only_looks(PyObject *looks, PyObject *method, PyObject *strategy, PyObject *bar, PyObject *now); /* looks.c */
Py_ssize_t still_looks(PyObject *looks, Py_ssize_t step, Py_ssize_t stop);                           /* looks.c */
int add_looks(PyObject *module, PyObject *asking);
int add_reads(PyObject *module);
int add_loop(PyObject *module);
int add_orders(PyObject *module);
int add_matching(PyObject *module);
int add_trades(PyObject *module);
int add_asking(PyObject *module);
int add_making(PyObject *module);

#endif
