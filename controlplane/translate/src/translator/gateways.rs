//! The step that translates Gateways with their ListenerSets.

use crate::Name;
use crate::fact::Fact;
use crate::gateway::{self, GatewayTranslation};
use crate::made::GatewayState;
use crate::object::{ObjectKey, ObjectKind};
use crate::output::Output;
use crate::unit::{Dirty, Items, Unit, replace};

use super::Translator;

impl Translator {
    pub(super) fn gateways(&mut self, dirty: &mut Dirty, output: &mut Output) {
        for name in std::mem::take(&mut dirty.gateways) {
            self.counters.gateways += 1;
            let exists = self.world.gateways.contains_key(&name);
            let made = self.look(Unit::Gateway(name.clone()), exists, |world, view| {
                world.gateways.get(&name).and_then(|object| gateway::translate(object, view))
            });
            let Some(made) = made else { continue };
            dirty.statuses.insert(ObjectKey { kind: ObjectKind::Gateway, name: name.clone() });
            match made {
                Some(made) => self.put_gateway(name, made, dirty, output),
                None => self.drop_gateway(&name, dirty, output),
            }
        }
    }

    fn put_gateway(&mut self, name: Name, made: GatewayTranslation, dirty: &mut Dirty, output: &mut Output) {
        let GatewayTranslation { plan, verdict, workload, items } = made;
        let Some(state) = self.made.gateways.get_mut(&name) else {
            output.workloads.insert(name.clone(), Some(workload.clone()));
            for owner in plan.owners() {
                dirty.fire(&self.index, &Fact::Parent(owner));
            }
            let mut state = GatewayState::new(plan, verdict, workload);
            replace(state.edit(), &Items::default(), &items);
            state.items = items;
            self.made.gateways.insert(name, state);
            return;
        };
        if state.workload != workload {
            output.workloads.insert(name, Some(workload.clone()));
            state.workload = workload;
        }
        let changed = state.plan.changed(&plan);
        dirty.statuses.extend(changed.iter().filter(|owner| owner.kind == ObjectKind::ListenerSet).cloned());
        state.plan = plan;
        state.verdict = verdict;
        let old = std::mem::replace(&mut state.items, items.clone());
        if old != items {
            replace(state.edit(), &old, &items);
        }
        for owner in changed {
            dirty.fire(&self.index, &Fact::Parent(owner));
        }
    }

    fn drop_gateway(&mut self, name: &Name, dirty: &mut Dirty, output: &mut Output) {
        let Some(state) = self.made.gateways.remove(name) else { return };
        output.workloads.insert(name.clone(), None);
        output.snapshots.insert(name.clone(), None);
        for owner in state.plan.owners() {
            dirty.fire(&self.index, &Fact::Parent(owner.clone()));
            dirty.statuses.insert(owner);
        }
        for unit in state.uses.into_keys() {
            self.made.forget_user(&unit, name);
            self.drop_if_unused(&unit);
            self.fire(&Fact::Users(unit.object()), dirty);
        }
        // The objects that proxies of the gateway refused lose that condition.
        dirty.statuses.extend(state.rejections.into_keys());
    }
}
