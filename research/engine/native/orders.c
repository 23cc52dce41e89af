/* Orders made, copied and booked.
 *
 * Belongs here: making an order as Backtrader's constructor does, copying it as its `clone` does, booking an execution.
 * Does not belong here: when an order executes (see matching.c). The reference is research/engine/orders.py.
 *
 * An object's attributes are a copy of a dictionary that has them all, in Backtrader's order, with the values changed.
 */

#include "orders.h"

#include <datetime.h>

static PyTypeObject *data_type, *bit_type, *buy_type, *sell_type, *params_types[2];
static PyObject *order_base, *info_type, *date2num;
static PyObject *wanted_names;                               /* the parameters, in the order of their values */
static PyObject *data_template, *bit_template, *wanted_template, *order_template; /* never changed: copied */
static PyObject *zero, *minus_infinity, *infinity;

#if PY_VERSION_HEX < 0x030D0000

/* An object that gets the room for its first attributes only when it needs it: it will have a dictionary instead. */
static PyObject *
bare_object(PyTypeObject *type, PyObject *own)
{
    PyObject *made = PyObject_GC_New(PyObject, type);
    if (made == NULL)
        return NULL;
    memset(made + 1, 0, (size_t)type->tp_basicsize - sizeof(PyObject));
    if (PyObject_GenericSetDict(made, own, NULL)) {
        Py_DECREF(made);
        return NULL;
    }
    PyObject_GC_Track(made);
    return made;
}

#else

/* That room is part of the object. */
static PyObject *
bare_object(PyTypeObject *type, PyObject *own)
{
    PyObject *made = type->tp_alloc(type, 0);
    if (made != NULL && PyObject_SetAttr(made, name_dict, own))
        Py_CLEAR(made);
    return made;
}

#endif

/* An object of a type, with these attributes; steals them. */
PyObject *
object_with(PyTypeObject *type, PyObject *own)
{
    if (own == NULL)
        return NULL;
    PyObject *made = bare_object(type, own);
    Py_DECREF(own);
    return made;
}

/* An object that the garbage collector need not look at, because it leads to numbers only; steals it.
 *
 * A record that a strategy hangs something of its own on, which leads back to it, is then never freed: a third of what
 * the collector would look at in a run, for a cycle that nobody makes.
 */
static PyObject *
leaf(PyObject *made)
{
    if (made != NULL)
        PyObject_GC_UnTrack(made);
    return made;
}

/* A record with these attributes; steals them. */
static PyObject *
record_with(PyObject *own)
{
    return leaf(object_with(data_type, leaf(own)));
}

int
is_plain_order(PyObject *order)
{
    return Py_IS_TYPE(order, buy_type) || Py_IS_TYPE(order, sell_type);
}

/* ---------------------------------------------------------------- telling */

/* What `order.executed.clone()` gives; moves the marks of what was told. */
static PyObject *
executed_copy(PyObject *executed)
{
    PyObject *own = attributes(executed), *told, *bits;
    if (own == NULL || (told = attribute(own, name_p2)) == NULL || (bits = attribute(own, name_exbits)) == NULL)
        return NULL;
    Py_ssize_t count = PyObject_Size(bits);
    if (count < 0 || set(own, name_p1, told) || number_set(own, name_p2, whole(count)))
        return NULL;
    return record_with(PyDict_Copy(own));
}

/* orders.told */
PyObject *
tell(PyObject *order, PyObject *own)
{
    PyObject *executed = attribute(own, name_executed);
    PyObject *copied = executed == NULL ? NULL : executed_copy(executed);
    PyObject *copy = copied == NULL ? NULL : PyDict_Copy(own);
    if (copy != NULL && set(copy, name_executed, copied))
        Py_CLEAR(copy);
    Py_XDECREF(copied);
    return object_with(Py_TYPE(order), copy);
}

static PyObject *
told(PyObject *Py_UNUSED(module), PyObject *order)
{
    PyObject *own = attributes(order);
    return own == NULL ? NULL : tell(order, own);
}

/* ---------------------------------------------------------------- booking */

/* What the record becomes; 0 where a number is strange, and nothing has been changed. */
int
book_ahead(Execution *one, PyObject *own)
{
    Number size = number_in(own, name_size), before = product(size, number_in(own, name_price));
    one->done_left = difference(number_in(own, name_remsize), one->size);
    one->done_size = sum(size, one->size);
    one->done_price = quotient(sum(before, product(one->size, one->price)), one->done_size);
    one->done_value = sum(number_in(own, name_value), sum(one->closed.value, one->opened.value));
    one->done_fee = sum(number_in(own, name_comm), sum(one->closed.fee, one->opened.fee));
    one->done_profit = sum(number_in(own, name_pnl), one->profit);
    Number all[] = {one->done_left, one->done_size, one->done_price, one->done_value, one->done_fee, one->done_profit};
    for (size_t number = 0; number < sizeof all / sizeof *all; number++)
        if (all[number].kind == STRANGE)
            return 0;
    return 1;
}

static PyObject *
execution_bit(Execution *one)
{
    PyObject *own = PyDict_Copy(bit_template);
    if (own == NULL)
        return NULL;
    Part *closed = &one->closed, *opened = &one->opened;
    if (set(own, name_dt, one->time) || number_set(own, name_size, one->size) ||
        number_set(own, name_price, one->price) || number_set(own, name_closed, closed->size) ||
        number_set(own, name_opened, opened->size) || number_set(own, name_closedvalue, closed->value) ||
        number_set(own, name_openedvalue, opened->value) || number_set(own, name_closedcomm, closed->fee) ||
        number_set(own, name_openedcomm, opened->fee) ||
        number_set(own, name_value, sum(closed->value, opened->value)) ||
        number_set(own, name_comm, sum(closed->fee, opened->fee)) || number_set(own, name_pnl, one->profit) ||
        number_set(own, name_psize, one->held) || number_set(own, name_pprice, one->average))
        Py_CLEAR(own);
    return leaf(object_with(bit_type, own));
}

/* Book an execution that was looked at ahead into the attributes of a record; -1 with an error set. */
int
book(Execution *one, PyObject *own)
{
    PyObject *bits = attribute(own, name_exbits), *bit = bits == NULL ? NULL : execution_bit(one);
    if (bit == NULL)
        return -1;
    int failed = append(bits, bit);
    Py_DECREF(bit);
    if (failed)
        return -1;
    return number_set(own, name_remsize, one->done_left) || set(own, name_dt, one->time) ||
                   number_set(own, name_size, one->done_size) || number_set(own, name_price, one->done_price) ||
                   number_set(own, name_value, one->done_value) || number_set(own, name_comm, one->done_fee) ||
                   number_set(own, name_pnl, one->done_profit) || number_set(own, name_psize, one->held) ||
                   number_set(own, name_pprice, one->average) || set(own, name_margin, one->margin)
               ? -1
               : 0;
}

/* ---------------------------------------------------------------- making */

/* The present value of one of a feed's lines. */
static PyObject *
present(PyObject *data, PyObject *name)
{
    PyObject *line = stored(data, name);
    PyObject *value = line == NULL ? NULL : PyObject_GetItem(line, zero);
    Py_XDECREF(line);
    return value;
}

/* orders._order_data with nothing but what it begins with. */
static PyObject *
new_data(void)
{
    PyObject *own = PyDict_Copy(data_template), *bits = leaf(PyObject_CallNoArgs((PyObject *)deque_type));
    if (own != NULL && (bits == NULL || set(own, name_exbits, bits)))
        Py_CLEAR(own);
    Py_XDECREF(bits);
    return own;
}

/* The record of what was wanted. */
static PyObject *
created(PyObject *wanted, PyObject *size, PyObject *now, PyObject *close)
{
    PyObject *price = attribute(wanted, name_price), *limit = attribute(wanted, name_pricelimit), *own = new_data();
    int priced = own == NULL || price == NULL ? -1 : PyObject_IsTrue(price);
    int limited = own == NULL || limit == NULL ? -1 : PyObject_IsTrue(limit);
    if (priced < 0 || limited < 0) {
        Py_XDECREF(own);
        return NULL;
    }
    PyObject *given = priced || limited ? price : close; /* the constructor's, then the record's own rules */
    int first = priced || limited ? priced : PyObject_IsTrue(close);
    if (first < 0 || set(own, name_dt, now) || set(own, name_size, size) ||
        set(own, name_pclose, close) ||
        set(own, name_price, limited && !first ? limit : given) ||
        set(own, name_pricelimit, limited ? limit : given) ||
        set(own, name_plimit, limit) ||
        set(own, name_trailamount, attribute(wanted, name_trailamount)) ||
        set(own, name_trailpercent, attribute(wanted, name_trailpercent))) {
        Py_DECREF(own);
        return NULL;
    }
    return record_with(own);
}

/* The record of what was done: nothing yet. */
static PyObject *
executed(PyObject *size)
{
    PyObject *own = new_data();
    if (own != NULL && set(own, name_remsize, size))
        Py_CLEAR(own);
    return record_with(own);
}

/* Set an attribute to a value that is given away; -1 with an error set, also where the value is missing. */
static int
set_new(PyObject *own, PyObject *name, int number, PyObject *value)
{
    int failed = set_at(own, name, number, value);
    Py_XDECREF(value);
    return failed ? -1 : 0;
}

/* The parameters by name. */
static PyObject *
named(PyObject *const *values)
{
    PyObject *wanted = PyDict_Copy(wanted_template);
    for (Py_ssize_t number = 0; wanted != NULL && number < PyTuple_GET_SIZE(wanted_names); number++)
        if (values[number] != Py_None && PyDict_SetItem(wanted, PyTuple_GET_ITEM(wanted_names, number), values[number]))
            Py_CLEAR(wanted);
    return wanted;
}

/* The parameters as an object, as Backtrader keeps them. */
static PyObject *
params_of(PyTypeObject *type, PyObject *wanted)
{
    return object_with(params_types[type == sell_type], Py_NewRef(wanted));
}

/* orders._begin_to_trail */
static int
begin_to_trail(PyObject *order, PyObject *own, int buys)
{
    PyObject *made = attributes(attribute(own, name_created));
    if (made == NULL)
        return -1;
    PyObject *price = Py_NewRef(attribute(made, name_price));
    PyObject *offset = PyNumber_Subtract(price, attribute(made, name_pricelimit));
    PyObject *done = NULL;
    if (set_new(own, NAMED(name_limitoffset), offset) == 0 &&
        set(made, name_price, buys ? infinity : minus_infinity) == 0)
        done = PyObject_CallMethodOneArg(order, name_trailadjust, price);
    Py_DECREF(price);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* What of an order's attributes follows from its parameters and the present bar; -1 with an error set. */
static int
complete(PyObject *own, PyObject *wanted, PyObject *size, PyObject *data)
{
    PyObject *kind = attribute(wanted, name_exectype), *close = present(data, name_close);
    PyObject *now = close == NULL ? NULL : present(data, name_datetime);
    int failed = now == NULL || set(own, name_plimit, attribute(wanted, name_pricelimit)) ||
                 set(own, name_exectype, kind == Py_None ? zero : kind) ||
                 set(own, name_size, size) ||
                 set(own, name_active, attribute(wanted, name_parent) == Py_None ? Py_True : Py_False) ||
                 set_new(own, NAMED(name_info), PyObject_CallNoArgs(info_type)) ||
                 set_new(own, NAMED(name_created), created(wanted, size, now, close)) ||
                 set_new(own, NAMED(name_executed), executed(size));
    Py_XDECREF(close);
    Py_XDECREF(now);
    return failed ? -1 : 0;
}

/* Whether a feed counts its days as Backtrader's do, in naive UTC. */
static int
is_naive(PyObject *data)
{
    PyObject *converts = PyObject_GetAttr((PyObject *)Py_TYPE(data), name_date2num), *zone = stored(data, name_tz);
    int naive = converts == date2num && zone == Py_None;
    PyErr_Clear();
    Py_XDECREF(converts);
    Py_XDECREF(zone);
    return naive;
}

/* orders.session_end of a plain feed within its session; NULL without an error for any other. */
static PyObject *
plain_session_end(PyObject *data, PyObject *now)
{
    PyObject *p = PyFloat_CheckExact(now) && is_naive(data) ? stored(data, name_p) : NULL;
    PyObject *session = p == NULL ? NULL : stored(p, name_sessionend), *end = NULL;
    PyErr_Clear();
    Py_XDECREF(p);
    if (session != NULL && PyTime_CheckExact(session)) {
        double time = PyFloat_AS_DOUBLE(now), day = floor(time);
        double parts[] = {day, PyDateTime_TIME_GET_HOUR(session) / 24.0, PyDateTime_TIME_GET_MINUTE(session) / 1440.0,
                          PyDateTime_TIME_GET_SECOND(session) / 86400.0,
                          PyDateTime_TIME_GET_MICROSECOND(session) / 86400e6};
        /* next to its end Python decides, and finds the same either way */
        if (time >= 0.0 && time - day < parts[1] + parts[2] + parts[3] + parts[4] - 2e-8)
            end = PyFloat_FromDouble(exact_sum(parts, 5));
    }
    Py_XDECREF(session);
    return end;
}

/* What is left once the order is an object: the trailing price, the time until which it is good, the session's end. */
static int
finish(PyObject *order, PyObject *own, PyObject *data, PyObject *session_end)
{
    Number kind = number_in(own, name_exectype);
    int trails = kind.kind == WHOLE && (kind.whole == STOP_TRAIL || kind.whole == STOP_TRAIL_LIMIT);
    if (trails && begin_to_trail(order, own, Py_IS_TYPE(order, buy_type)))
        return -1;
    PyObject *valid = attribute(own, name_valid);
    if (valid != Py_None && !PyFloat_Check(valid) && !PyLong_Check(valid) &&
        set_new(own, NAMED(name_valid), PyObject_CallMethodOneArg(data, name_date2num, valid)))
        return -1;
    PyObject *now = attribute(attributes(attribute(own, name_created)), name_dt);
    PyObject *end = now == NULL ? NULL : plain_session_end(data, now);
    if (end == NULL && !PyErr_Occurred())
        end = PyObject_CallFunctionObjArgs(session_end, data, now, NULL);
    return set_new(own, NAMED(name_dteos), end);
}

/* The next reference, from the counter that all orders share. */
static PyObject *
next_reference(void)
{
    PyObject *counter = PyObject_GetAttr(order_base, name_refbasis);
    PyObject *reference = counter == NULL ? NULL : PyIter_Next(counter);
    Py_XDECREF(counter);
    return reference;
}

static PyObject *
order_of(PyTypeObject *type, PyObject *wanted, PyObject *session_end)
{
    PyObject *own = PyDict_Copy(order_template);
    PyObject *data = attribute(wanted, name_data), *given = attribute(wanted, name_size);
    PyObject *size = NULL, *params = params_of(type, wanted), *order = NULL;
    if (own == NULL || params == NULL || set(own, name_params, params) ||
        set(own, name_p, params) || set_new(own, NAMED(name_ref), next_reference()) ||
        set(own, name_data, data) || set(own, name_valid, attribute(wanted, name_valid)))
        goto end;
    size = type == buy_type ? Py_NewRef(given) : PyNumber_Negative(given);
    if (size == NULL || complete(own, wanted, size, data))
        goto end;
    order = object_with(type, Py_NewRef(own));
    if (order != NULL && finish(order, own, data, session_end))
        Py_CLEAR(order);
end:
    Py_XDECREF(own);
    Py_XDECREF(params);
    Py_XDECREF(size);
    return order;
}

/* orders.new_order, of a type and the values of all parameters */
PyObject *
order_by(PyTypeObject *type, PyObject *const *values, PyObject *session_end)
{
    PyObject *wanted = named(values);
    PyObject *order = wanted == NULL ? NULL : order_of(type, wanted, session_end);
    Py_XDECREF(wanted);
    return order;
}

static PyObject *
new_order(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyTypeObject *type;
    PyObject *values, *session_end;
    if (!PyArg_ParseTuple(args, "O!O!O:new_order", &PyType_Type, &type, &PyTuple_Type, &values, &session_end))
        return NULL;
    if (PyTuple_GET_SIZE(values) != PyTuple_GET_SIZE(wanted_names) || (type != buy_type && type != sell_type)) {
        PyErr_SetString(PyExc_TypeError, "an order is made of one of two types and all its parameters");
        return NULL;
    }
    return order_by(type, &PyTuple_GET_ITEM(values, 0), session_end);
}

/* ---------------------------------------------------------------- setting up */

/* An object that has these attributes, set one after the other; NULL with an error set. */
static PyObject *
shaped(PyObject *kind, PyObject *own)
{
    PyObject *made = PyObject_CallNoArgs(kind), *name, *value;
    Py_ssize_t at = 0;
    while (made != NULL && PyDict_Next(own, &at, &name, &value))
        if (PyObject_SetAttr(made, name, value))
            Py_CLEAR(made);
    return made;
}

/* A dictionary of the same entries that shares its keys with all its copies, as the attributes of plain objects do:
 * a copy is an array of values, a quarter of the memory. Its shape becomes the one of this number, if there is one.
 * Steals `own`.
 *
 * The names to come are part of the keys from the beginning. Python makes room for more keys in the first objects of
 * a class than in later ones.
 */
PyObject *
compact(PyObject *own, PyObject *to_come, int number)
{
    PyObject *kind = PyObject_CallFunction((PyObject *)&PyType_Type, "s(){}", "Shape"), *made = NULL, *all = NULL;
    if (own != NULL && kind != NULL && (all = PyDict_Copy(own)) != NULL &&
        (to_come == NULL || PyDict_Update(all, to_come) == 0))
        made = shaped(kind, all);
    for (int spare = 0; made != NULL && spare < 30; spare++)
        Py_SETREF(made, PyObject_CallNoArgs(kind));
    if (made != NULL)
        Py_SETREF(made, shaped(kind, own));
    PyObject *shared = made == NULL ? NULL : PyObject_GetAttr(made, name_dict);
    Py_XDECREF(own);
    Py_XDECREF(kind);
    Py_XDECREF(made);
    if (shared != NULL && number < SHAPES && learn_shape(number, shared, all))
        Py_CLEAR(shared);
    Py_XDECREF(all);
    return shared;
}

static PyMethodDef functions[] = {
    {"told", told, METH_O, "told(order)\n--\n\nWhat `order.clone()` gives."},
    {"new_order", new_order, METH_VARARGS, "new_order(type, values, session_end)\n--\n\nWhat the constructor makes."},
    {NULL},
};

static int
make_templates(void)
{
    zero = PyLong_FromLong(0);
    infinity = PyFloat_FromDouble(Py_HUGE_VAL);
    minus_infinity = PyFloat_FromDouble(-Py_HUGE_VAL);
    wanted_names = Py_BuildValue("(OOOOOOOOOOOOOOO)", name_owner, name_data, name_size, name_price, name_pricelimit,
                                 name_exectype, name_valid, name_tradeid, name_oco, name_trailamount,
                                 name_trailpercent, name_parent, name_transmit, name_simulated, name_histnotify);
    data_template = Py_BuildValue(
        "{OdOOOiOiOOOiOiOdOdOdOdOdOdOdOOOdOiOi}", name_pclose, 0.0, name_exbits, Py_None, name_p1, 0, name_p2, 0,
        name_dt, Py_None, name_size, 0, name_remsize, 0, name_price, 0.0, name_pricelimit, 0.0, name_trailamount, 0.0,
        name_trailpercent, 0.0, name_plimit, 0.0, name_value, 0.0, name_comm, 0.0, name_margin, Py_None, name_pnl,
        0.0, name_psize, 0, name_pprice, 0);
    bit_template = Py_BuildValue(
        "{OOOiOdOiOiOdOdOdOdOdOdOdOiOi}", name_dt, Py_None, name_size, 0, name_price, 0.0, name_closed, 0,
        name_opened, 0, name_closedvalue, 0.0, name_openedvalue, 0.0, name_closedcomm, 0.0, name_openedcomm, 0.0,
        name_value, 0.0,
        name_comm, 0.0, name_pnl, 0.0, name_psize, 0, name_pprice, 0);
    wanted_template = PyDict_New();
    for (Py_ssize_t number = 0; wanted_names && wanted_template && number < PyTuple_GET_SIZE(wanted_names); number++)
        PyDict_SetItem(wanted_template, PyTuple_GET_ITEM(wanted_names, number), Py_None);
    data_template = compact(data_template, NULL, RECORD_SHAPE);
    bit_template = compact(bit_template, NULL, BIT_SHAPE);
    wanted_template = compact(wanted_template, NULL, WANTED_SHAPE);
    return wanted_names && wanted_template && data_template && bit_template ? 0 : -1;
}

/* Those attributes that every order gets, and two parameters that are read at every bar. Backtrader finds the others
 * among the parameters. */
static int
make_order_template(void)
{
    order_template = Py_BuildValue(
        "{OOOOOOOOOOOOOOOOOOOOOiOOOOOOOdOiOOOOOO}", name_data, Py_None, name_valid, Py_None, name_params, Py_None,
        name_p, Py_None, name_ref, Py_None, name_broker, Py_None, name_info, Py_None, name_comminfo, Py_None,
        name_triggered,
        Py_False, name_active, Py_None, name_status, CREATED, name_plimit, Py_None, name_exectype, Py_None, name_size,
        Py_None, name_limitoffset, 0.0, name_position, 0, name_created, Py_None, name_executed, Py_None, name_dteos,
        Py_None);
    PyObject *to_come = Py_BuildValue("{OOOi}", name_pannotated, Py_None, name_plen, 0);
    order_template = to_come == NULL ? NULL : compact(order_template, to_come, ORDER_SHAPE);
    Py_XDECREF(to_come);
    int failed = order_template == NULL;
    return failed || !zero || !infinity || !minus_infinity ? -1 : 0;
}

int
add_orders(PyObject *module)
{
    data_type = type_of("backtrader.order", "OrderData");
    bit_type = type_of("backtrader.order", "OrderExecutionBit");
    buy_type = type_of("backtrader.order", "BuyOrder");
    sell_type = type_of("backtrader.order", "SellOrder");
    order_base = (PyObject *)type_of("backtrader.order", "OrderBase");
    info_type = (PyObject *)type_of("backtrader.utils", "AutoOrderedDict");
    PyObject *feed = (PyObject *)type_of("backtrader.feed", "AbstractDataBase");
    date2num = feed == NULL ? NULL : PyObject_GetAttr(feed, name_date2num);
    Py_XDECREF(feed);
    PyDateTime_IMPORT;
    if (PyDateTimeAPI == NULL || date2num == NULL)
        return -1;
    if (!data_type || !bit_type || !buy_type || !sell_type || !order_base || !info_type)
        return -1;
    params_types[0] = (PyTypeObject *)PyObject_GetAttr((PyObject *)buy_type, name_params);
    params_types[1] = (PyTypeObject *)PyObject_GetAttr((PyObject *)sell_type, name_params);
    if (!params_types[0] || !params_types[1])
        return -1;
    return make_templates() || make_order_template() || PyModule_AddFunctions(module, functions) ? -1 : 0;
}
