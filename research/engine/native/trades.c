/* What a notification does to a strategy's trades.
 *
 * Belongs here: queueing a change of an order, and of the trades that it moves. Does not belong here: telling the
 * strategy (see loop.c). The reference is research/engine/notifications.py, and `Trade.update` of Backtrader.
 */

#include "orders.h"

static PyTypeObject *trade_type, *base_scheme, *stock_scheme;
static PyObject *trade_template, *zero;

enum { TRADE_CREATED, TRADE_OPEN, TRADE_CLOSED };

/* A part of an execution, as a trade sees it; borrowed. */
typedef struct {
    PyObject *order, *data, *info;
    PyObject *size, *price, *value, *fee, *profit;
} Change;

/* ---------------------------------------------------------------- one trade */

static int
set_truth(PyObject *own, PyObject *name, int number, int truth)
{
    return set_at(own, name, number, truth ? Py_True : Py_False);
}

static Number
number_at(PyObject *object, PyObject *name)
{
    PyObject *value = stored(object, name);
    Number number = number_of(value);
    if (value == NULL)
        PyErr_Clear();
    Py_XDECREF(value);
    return number;
}

/* The multiplier of one of Backtrader's own schemes for shares; strange of any other. */
static Number
multiplier(PyObject *info)
{
    if (!Py_IS_TYPE(info, base_scheme) && !Py_IS_TYPE(info, stock_scheme))
        return strange();
    PyObject *stocklike = stored(info, name_stocklike), *p = stored(info, name_p);
    Number found = stocklike == Py_True && p != NULL ? number_at(p, name_mult) : strange();
    Py_XDECREF(stocklike);
    Py_XDECREF(p);
    PyErr_Clear();
    return found;
}

/* The bar and time of the data, as a trade notes them. */
static int
set_moment(PyObject *own, Change *change, Py_ssize_t bar, PyObject *name_of_bar, int number_of_bar,
           PyObject *name_of_time, int number_of_time)
{
    PyObject *line = stored(change->data, name_datetime), *time = line == NULL ? NULL : PyObject_GetItem(line, zero);
    int failed = time == NULL || number_set_at(own, name_of_bar, number_of_bar, whole(bar)) ||
                 set_at(own, name_of_time, number_of_time, time);
    Py_XDECREF(line);
    Py_XDECREF(time);
    return failed ? -1 : 0;
}

/* What of `Trade.update` says whether the trade is open. */
static int
update_state(PyObject *own, Change *change, Number before, Number after)
{
    Py_ssize_t bar = PyObject_Size(change->data);
    int opens = is_zero(before), is_open = !is_zero(after), closes = !is_zero(before) && !is_open;
    if (bar < 0 || set_truth(own, NAMED(name_justopened), opens))
        return -1;
    if (opens && (set_moment(own, change, bar, NAMED(name_baropen), NAMED(name_dtopen)) ||
                  set_truth(own, NAMED(name_is_long), after.value > 0)))
        return -1;
    Number length = difference(whole(bar), number_in(own, name_baropen));
    if (set_truth(own, NAMED(name_isopen), is_open) || number_set(own, name_barlen, length) ||
        set_truth(own, NAMED(name_isclosed), closes))
        return -1;
    if (closes && set_moment(own, change, bar, NAMED(name_barclose), NAMED(name_dtclose)))
        return -1;
    return is_open || closes ? number_set(own, name_status, whole(closes ? TRADE_CLOSED : TRADE_OPEN)) : 0;
}

/* Trade.update, in its own words: for whatever is out of the ordinary. */
static int
update_in_python(PyObject *trade, Change *change)
{
    PyObject *done = PyObject_CallMethodObjArgs(trade, name_update, change->order, change->size, change->price,
                                                change->value, change->fee, change->profit, change->info, NULL);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* Trade.update */
static int
update(PyObject *trade, Change *change)
{
    PyObject *own = attributes(trade);
    if (own == NULL)
        return -1;
    Number size = number_of(change->size), price = number_of(change->price), before = number_in(own, name_size);
    Number average = number_in(own, name_price), after = sum(before, size), mult = multiplier(change->info);
    Number fees = sum(number_in(own, name_commission), number_of(change->fee)), profit = floating(0.0);
    if (magnitude(after).value > magnitude(before).value)
        average = quotient(sum(product(before, average), product(size, price)), after);
    else
        profit = product(product(negative(size), difference(price, average)), mult);
    Number total = sum(number_in(own, name_pnl), profit), net = difference(total, fees);
    Number value = product(after, average);
    PyObject *keeps = found(own, name_historyon);
    if (keeps != Py_False || is_zero(size) || mult.kind == STRANGE || net.kind == STRANGE || value.kind == STRANGE)
        return update_in_python(trade, change);
    if (number_set(own, name_commission, fees) || number_set(own, name_size, after) ||
        update_state(own, change, before, after) || number_set(own, name_price, average) ||
        number_set(own, name_pnl, total) || number_set(own, name_pnlcomm, net) || number_set(own, name_value, value))
        return -1;
    return 0;
}

/* notifications._new_trade */
static PyObject *
new_trade(PyObject *strategy, Change *change)
{
    PyObject *own = PyDict_Copy(trade_template), *counter = PyObject_GetAttr((PyObject *)trade_type, name_refbasis);
    PyObject *ref = counter == NULL ? NULL : PyIter_Next(counter), *history = PyList_New(0);
    PyObject *keeps = stored(strategy, name_tradehistoryon), *id = parameter_of(change->order, name_tradeid);
    if (own != NULL &&
        (ref == NULL || history == NULL || keeps == NULL || id == NULL || set(own, name_ref, ref) ||
         set(own, name_data, change->data) || set(own, name_tradeid, id) ||
         set(own, name_historyon, keeps) || set(own, name_history, history)))
        Py_CLEAR(own);
    Py_XDECREF(counter);
    Py_XDECREF(ref);
    Py_XDECREF(history);
    Py_XDECREF(keeps);
    Py_XDECREF(id);
    return object_with(trade_type, own);
}

/* ---------------------------------------------------------------- the trades that an order moves */

static int
is_so(PyObject *trade, PyObject *name, int number)
{
    PyObject *own = attributes(trade), *value = own == NULL ? NULL : attribute_at_place(own, name, number);
    return value == NULL ? -1 : PyObject_IsTrue(value);
}

/* Queue a trade as it is now, if it is so. */
static int
queue_if(PyObject *queue, PyObject *trade, PyObject *name, int number)
{
    int is = is_so(trade, name, number);
    if (is <= 0)
        return is;
    PyObject *copy = object_with(trade_type, PyDict_Copy(attributes(trade)));
    int failed = copy == NULL || PyList_Append(queue, copy);
    Py_XDECREF(copy);
    return failed ? -1 : 0;
}

/* Begin a trade; the list keeps it. */
static PyObject *
begin_trade(PyObject *trades, PyObject *strategy, Change *change)
{
    PyObject *trade = new_trade(strategy, change);
    if (trade != NULL && PyList_Append(trades, trade))
        Py_CLEAR(trade);
    Py_XDECREF(trade);
    return trade;
}

/* An attribute that its object keeps; borrowed. */
static PyObject *
kept_at(PyObject *object, PyObject *name, int number)
{
    PyObject **own = _PyObject_GetDictPtr(object);
    PyObject *value = own == NULL || *own == NULL ? NULL : found_at(*own, name, number);
    if (value != NULL || PyErr_Occurred())
        return value;
    value = PyObject_GetAttr(object, name);
    Py_XDECREF(value);
    return value;
}

#define kept(object, name) kept_at(object, NAMED(name))

/* What of an execution closed or opened something; 0 where nothing did. */
static int
take_part(Change *change, PyObject *bit, PyObject *size, PyObject *value, PyObject *fee)
{
    change->size = size;
    change->value = value;
    change->fee = fee;
    change->price = kept(bit, name_price);
    change->profit = kept(bit, name_pnl);
    if (!size || !value || !fee || !change->price || !change->profit)
        return -1;
    return PyObject_IsTrue(change->size);
}

/* notifications._changes of one execution */
static int
change_trades(PyObject *strategy, Change *change, PyObject *bit, PyObject *trades, PyObject *queue)
{
    PyObject *trade = PyList_GetItem(trades, PyList_GET_SIZE(trades) - 1);
    if (trade == NULL)
        return -1;
    int closes =
        take_part(change, bit, kept(bit, name_closed), kept(bit, name_closedvalue), kept(bit, name_closedcomm));
    if (closes < 0 || (closes && (update(trade, change) || queue_if(queue, trade, NAMED(name_isclosed)))))
        return -1;
    int opens = take_part(change, bit, kept(bit, name_opened), kept(bit, name_openedvalue), kept(bit, name_openedcomm));
    if (opens < 0)
        return -1;
    if (opens) {
        int is_over = is_so(trade, NAMED(name_isclosed));
        if (is_over < 0 || (is_over && (trade = begin_trade(trades, strategy, change)) == NULL) ||
            update(trade, change) || queue_if(queue, trade, NAMED(name_isclosed)))
            return -1;
    }
    return queue_if(queue, trade, NAMED(name_justopened));
}

/* The trades of a feed by the order's id; a new reference. */
static PyObject *
trades_of(PyObject *strategy, Change *change)
{
    PyObject *all = stored(strategy, name_trades), *id = parameter_of(change->order, name_tradeid);
    PyObject *of_data = all == NULL || id == NULL ? NULL : PyObject_GetItem(all, change->data);
    PyObject *trades = of_data == NULL ? NULL : PyObject_GetItem(of_data, id);
    Py_XDECREF(all);
    Py_XDECREF(id);
    Py_XDECREF(of_data);
    if (trades != NULL && !PyList_Check(trades)) {
        PyErr_SetString(PyExc_TypeError, "the trades of a feed are no list");
        Py_CLEAR(trades);
    }
    return trades;
}

/* All executions of an order that its strategy has not been told of. */
static int
change_all(PyObject *strategy, Change *change, PyObject *record, PyObject *trades, PyObject *queue)
{
    PyObject *bits = kept(record, name_exbits);
    Number first = number_of(kept(record, name_p1)), stop = number_of(kept(record, name_p2));
    if (bits == NULL || PyErr_Occurred() ||
        (PyList_GET_SIZE(trades) == 0 && begin_trade(trades, strategy, change) == NULL))
        return -1;
    for (long long at = first.whole; at < stop.whole; at++) {
        PyObject *bit = PySequence_GetItem(bits, (Py_ssize_t)at);
        int failed = bit == NULL || change_trades(strategy, change, bit, trades, queue);
        Py_XDECREF(bit);
        if (failed)
            return -1;
    }
    return 0;
}

/* The feed that an order's trades belong to; a new reference. */
static PyObject *
data_of(PyObject *order)
{
    PyObject *data = parameter_of(order, name_data), *other = data ? stored(data, name_compensate) : NULL;
    if (other != Py_None) {
        Py_XDECREF(data);
        return other;
    }
    Py_DECREF(other);
    return data;
}

static int
collect_trades(PyObject *strategy, PyObject *order, PyObject *record)
{
    Change change = {.order = order, .data = data_of(order), .info = kept(order, name_comminfo)};
    PyObject *trades = change.data == NULL || change.info == NULL ? NULL : trades_of(strategy, &change);
    PyObject *queue = trades == NULL ? NULL : stored(strategy, name_trades_pending);
    int failed = queue == NULL || !PyList_Check(queue) || change_all(strategy, &change, record, trades, queue);
    Py_XDECREF(change.data);
    Py_XDECREF(trades);
    Py_XDECREF(queue);
    return failed ? -1 : 0;
}

/* notifications.collect of a plain order; 1 where Python has to do it, -1 with an error set. */
int
collect(PyObject *strategy, PyObject *order)
{
    if (!is_plain_order(order))
        return 1;
    PyObject *simulated = parameter_of(order, name_simulated), *queue = NULL;
    Py_XDECREF(simulated);
    if (simulated != Py_False)
        return simulated == NULL ? -1 : 1;
    int failed = (queue = stored(strategy, name_orders_pending)) == NULL || PyList_Append(queue, order);
    Py_XDECREF(queue);
    PyObject *record = failed ? NULL : kept(order, name_executed);
    PyObject *done = record == NULL ? NULL : kept(record, name_size);
    int executed = done == NULL ? -1 : PyObject_IsTrue(done);
    return executed > 0 ? collect_trades(strategy, order, record) : executed;
}

int
add_trades(PyObject *Py_UNUSED(module))
{
    trade_type = type_of("backtrader.trade", "Trade");
    base_scheme = type_of("backtrader.comminfo", "CommInfoBase");
    stock_scheme = type_of("backtrader.comminfo", "CommissionInfo");
    zero = PyLong_FromLong(0);
    trade_template = Py_BuildValue(
        "{OOOOOOOiOdOdOdOdOdOOOOOOOiOdOiOdOiOOOOOi}", name_ref, Py_None, name_data, Py_None, name_tradeid, Py_None,
        name_size, 0, name_price, 0.0, name_value, 0.0, name_commission, 0.0, name_pnl, 0.0, name_pnlcomm, 0.0,
        name_justopened, Py_False, name_isopen, Py_False, name_isclosed, Py_False, name_baropen, 0, name_dtopen, 0.0,
        name_barclose, 0, name_dtclose, 0.0, name_barlen, 0, name_historyon, Py_False, name_history, Py_None,
        name_status, TRADE_CREATED);
    trade_template = compact(trade_template, NULL, TRADE_SHAPE);
    return trade_type && base_scheme && stock_scheme && zero && trade_template ? 0 : -1;
}
